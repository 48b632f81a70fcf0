"""A Service's endpoints, as its EndpointSlices list them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

#: The label by which an EndpointSlice names its Service.
SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port behind a Service.

    Attributes:
        ip: the address.
        port: the port there; None if the Service has no ports.
        port_name: the Service port's name; "" if it has none.
        protocol: "TCP", "UDP" or "SCTP".
        ready: takes traffic. A condition that is not given counts as kube-proxy counts it: yes.
        serving: would pass its readiness probe, also while it terminates.
        terminating: its Pod is being deleted.
        pod: the Pod's name; "" if no Pod stands behind it.
        node: the node's name; "" if it is not known.
    """

    ip: str
    port: int | None
    port_name: str = ""
    protocol: str = "TCP"
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    pod: str = ""
    node: str = ""

    @property
    def address(self) -> str:
        """`ip:port`, as `kubectl describe service` writes it."""
        return f"{self.ip}:{self.port}"

    def __str__(self) -> str:
        state = [] if self.ready else ["not ready"]
        state += ["terminating"] if self.terminating else []
        who = f" {self.pod}" if self.pod else ""
        return f"{self.address}{who}" + (f" ({', '.join(state)})" if state else "")


def endpoints(client: ApiClient, namespace: str, service: str) -> tuple[Endpoint, ...]:
    """A Service's endpoints as the API lists them now, sorted by port name, address and port.

    Raises:
        InfrastructureError: the API server doesn't answer, or refuses.
    """
    from kubernetes.client import DiscoveryV1Api
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        # The bare JSON: the client's own model refuses a slice whose endpoints are null.
        answer: Any = DiscoveryV1Api(client).list_namespaced_endpoint_slice(
            namespace, label_selector=f"{SERVICE_LABEL}={service}", _preload_content=False
        )
    except (ApiException, HTTPError) as error:
        raise InfrastructureError(
            f"the EndpointSlices of {namespace}/{service} can't be listed ({error})"
        ) from error
    return endpoints_of(json.loads(answer.data)["items"])


def ready(found: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Those that take new traffic."""
    return tuple(each for each in found if each.ready)


def serving(found: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Those that would pass their readiness probe, also while they terminate."""
    return tuple(each for each in found if each.serving)


def terminating(found: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Those whose Pod is being deleted."""
    return tuple(each for each in found if each.terminating)


def on_node(found: Iterable[Endpoint], node: str) -> tuple[Endpoint, ...]:
    """Those on one node."""
    return tuple(each for each in found if each.node == node)


def of_port(found: Iterable[Endpoint], port_name: str) -> tuple[Endpoint, ...]:
    """Those of one port of the Service, by its name."""
    return tuple(each for each in found if each.port_name == port_name)


def endpoints_of(slices: Iterable[Mapping[str, Any]]) -> tuple[Endpoint, ...]:
    """The endpoints that EndpointSlices list, one for each address and port, in order.

    Args:
        slices: EndpointSlices of one Service, as the API gives them in JSON.
    """
    found: set[Endpoint] = set()
    for slice_ in slices:
        # A slice without ports stands for a Service without ports.
        ports = slice_.get("ports") or [{}]
        for endpoint in slice_.get("endpoints") or ():
            for port in ports:
                found |= {_endpoint(endpoint, port, ip) for ip in endpoint["addresses"]}
    return tuple(sorted(found, key=_order))


def _endpoint(endpoint: Mapping[str, Any], port: Mapping[str, Any], ip: str) -> Endpoint:
    conditions = endpoint.get("conditions") or {}
    target = endpoint.get("targetRef") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    return Endpoint(
        ip=ip,
        port=port.get("port"),
        port_name=port.get("name") or "",
        protocol=port.get("protocol") or "TCP",
        ready=ready,
        serving=ready if serving is None else bool(serving),
        terminating=bool(conditions.get("terminating")),
        pod=target.get("name", "") if target.get("kind") == "Pod" else "",
        node=endpoint.get("nodeName") or "",
    )


def _order(each: Endpoint) -> tuple[str, str, int, str, str]:
    return (each.port_name, each.ip, each.port or 0, each.protocol, each.pod)
