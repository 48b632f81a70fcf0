"""What one node does with packets to Services, whichever way kube-proxy wrote it down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["cluster", "node", "external", "loadbalancer"]


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """Where a packet to a Service may end.

    Attributes:
        ip: the endpoint's address.
        port: its port.
        probability: the chance that a new connection without affinity ends here, 0 to 1.
    """

    ip: str
    port: int
    probability: float


@dataclass(frozen=True, slots=True)
class ServiceRule:
    """One address and port of a Service, and what a node does with packets to it.

    Attributes:
        namespace: the Service's namespace.
        service: the Service's name.
        port_name: the name of the Service's port; empty for a port without a name.
        protocol: TCP, UDP or SCTP.
        ip: the address; empty for a node port, which every address of the node may have.
        port: the Service's port, or the node port.
        kind: whose address it is. iptables don't tell an external IP without endpoints from
            a load balancer's, nor does nftables any of the two unless the Service has
            loadBalancerSourceRanges; then it is "external".
        backends: sorted by address and port. For the kinds that face outwards: those of a
            client outside the cluster; the shortcuts which externalTrafficPolicy: Local
            gives to Pods and to the node itself aren't part of it.
        chooser: how one of several backends is chosen: "random", or "rr" for one after the
            other; empty if there is nothing to choose.
        affinity_seconds: how long a client stays with its backend; None without affinity.
        affinity_by: what remembers the client: iptables' "recent", an nftables "set", IPVS'
            "persistent"; empty without affinity.
        rejects: the node answers with an ICMP error, as the Service has no endpoints.
        drops: the node drops the packets, as a traffic policy is Local and no endpoint is.
    """

    namespace: str
    service: str
    port_name: str
    protocol: str
    ip: str
    port: int
    kind: Kind
    backends: tuple[Backend, ...] = ()
    chooser: str = ""
    affinity_seconds: int | None = None
    affinity_by: str = ""
    rejects: bool = False
    drops: bool = False


def rules_for(
    rules: Iterable[ServiceRule], namespace: str, service: str
) -> tuple[ServiceRule, ...]:
    """Those of one Service, in the order given."""
    return tuple(r for r in rules if (r.namespace, r.service) == (namespace, service))
