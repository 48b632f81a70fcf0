"""Which Service an address and port belong to, as the API knows it: IPVS keeps no names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from servicelab.observe.model import Kind
from servicelab.observe.port_rules import PortName

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an address and port are.

    Attributes:
        name: the Service's port.
        kind: whose address it is.
        affinity_seconds: how long a client shall stay with its backend; None without affinity.
    """

    name: PortName
    kind: Kind
    affinity_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceAddresses:
    """Every address and port of the cluster's Services.

    Attributes:
        addresses: owners by protocol, address and port.
        node_ports: owners by protocol and port.
    """

    addresses: Mapping[tuple[str, str, int], Owner] = field(default_factory=dict)
    node_ports: Mapping[tuple[str, int], Owner] = field(default_factory=dict)


def service_addresses(client: ApiClient) -> ServiceAddresses:
    """Ask the API for every Service.

    Raises:
        kubernetes.client.ApiException: it refuses.
    """
    from kubernetes.client import CoreV1Api

    listed = CoreV1Api(client).list_service_for_all_namespaces()
    plain = client.sanitize_for_serialization(listed)  # type: ignore[no-untyped-call]
    return addresses_of(plain["items"])


def addresses_of(services: Iterable[Mapping[str, Any]]) -> ServiceAddresses:
    """The addresses of Services, given as the API's JSON has them."""
    addresses: dict[tuple[str, str, int], Owner] = {}
    node_ports: dict[tuple[str, int], Owner] = {}
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        held: list[tuple[str, Kind]] = [
            *((ip, "external") for ip in spec.get("externalIPs") or ()),
            *((ip, "loadbalancer") for ip in _given(service)),
            *((ip, "cluster") for ip in spec.get("clusterIPs") or () if ip != "None"),
        ]
        seconds = _affinity(spec)
        for port in spec.get("ports") or ():
            name = PortName(metadata["namespace"], metadata["name"], port.get("name") or "")
            protocol = port.get("protocol", "TCP")
            for ip, kind in held:
                addresses[protocol, ip, port["port"]] = Owner(name, kind, seconds)
            if number := port.get("nodePort"):
                node_ports[protocol, number] = Owner(name, "node", seconds)
    return ServiceAddresses(addresses, node_ports)


def _given(service: Mapping[str, Any]) -> list[str]:
    """A load balancer's addresses that kube-proxy has rules for."""
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    return [
        entry["ip"]
        for entry in balancer.get("ingress") or ()
        if entry.get("ip") and entry.get("ipMode", "VIP") == "VIP"
    ]


def _affinity(spec: Mapping[str, Any]) -> int | None:
    if spec.get("sessionAffinity") != "ClientIP":
        return None
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds", 10800))
