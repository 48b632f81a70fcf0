"""A Service's endpoints, as its EndpointSlices list them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: The label by which an EndpointSlice names its Service.
SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, order=True)
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


def endpoints_of(slices: Iterable[Mapping[str, Any]]) -> list[Endpoint]:
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
    return sorted(found, key=lambda each: (each.port_name, each.ip, each.port or 0))


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
