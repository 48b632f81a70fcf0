"""What is asked: one of a Service's addresses, and the node whose rules translate it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from servicelab.errors import UsageError
from servicelab.explain.objects import Json, ServicePort, labels_of, name_of
from servicelab.explain.places import Asker, From, check_from, node_ip
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.wording import listed
from servicelab.observe.model import Kind
from servicelab.trace.packet import Endpoint, Enters
from servicelab.vantage.arp import ArpReply, ArpRequest


@dataclass(frozen=True, slots=True)
class Target:
    """One of a Service's addresses, asked from one place.

    Attributes:
        kind: whose address it is.
        address: the address and port that are asked.
        port: the Service's port.
        node: the node whose rules the packet meets; "" if it gets to none.
        enters: by which way it meets them.
        why: why it is that node, in words.
    """

    kind: Kind
    address: Endpoint
    port: ServicePort
    node: str
    enters: Enters
    why: str

    @property
    def protocol(self) -> str:
        """As the kernel writes it: "tcp" or "udp"."""
        return self.port.protocol.lower()


def port_asked(s: Snapshot, wanted: int | str | None) -> ServicePort:
    """The port of a Service that is meant.

    Args:
        s: the Service.
        wanted: its number or name; None is the first one.

    Raises:
        UsageError: the Service has no such port, or nothing can be asked there.
    """
    if not s.ports:
        raise UsageError(
            f"{s} has no ports", remedy="no rule is made for it; see `servicelab explain`"
        )
    text = str(wanted) if wanted is not None else ""
    port = next((each for each in s.ports if not text or text in (each.name, str(each.port))), None)
    if port is None:
        raise UsageError(
            f"{s} has no port {text}",
            remedy=f"it has {listed(str(each) for each in s.ports)}",
        )
    if port.protocol not in ("TCP", "UDP"):
        raise UsageError(
            f"port {port} of {s} speaks {port.protocol}, which no probe of servicelab's does",
            remedy="trace a TCP or UDP port",
        )
    return port


def check_place(s: Snapshot, from_: From, node: str | None) -> None:
    """Refuse a place that the Service can't be traced from.

    Raises:
        UsageError: it has no address that the place has a route to, or there is no such node.
    """
    if node is not None and node not in s.node_names:
        raise UsageError(f"there is no node {node!r}", remedy=f"use one of {listed(s.node_names)}")
    if s.is_headless or s.is_external_name:
        return
    if from_ == "outside" and s.type == "ClusterIP":
        raise UsageError(
            f"{s} is of type ClusterIP: a host outside has no route to its address "
            f"{', '.join(s.cluster_ips)}, so no packet gets to any rule",
            remedy="trace it with --from pod or --from node, or make it a NodePort",
        )
    check_from(s, from_)
    if not any(":" not in ip for ip in s.cluster_ips):
        raise UsageError(
            f"{s} has no IPv4 address",
            remedy="a trace follows IPv4; `servicelab explain` asks IPv6",
        )


def asker_among(askers: tuple[Asker, ...], node: str | None) -> Asker:
    """The place to ask from: on a node if one is named, else the first node that is a worker."""
    wanted = [each for each in askers if node is None or each.place.node == node]
    workers = [each for each in wanted if getattr(each.vantage, "role", "") == "worker"]
    return (workers or wanted or list(askers))[0]


def target_of(s: Snapshot, port: ServicePort, asker: Asker, node: str | None) -> Target:
    """Which of a Service's addresses a place asks, and where that is translated.

    Args:
        s: the Service.
        port: its port.
        asker: the place.
        node: the node whose node port is asked; None is any.

    Raises:
        UsageError: there is no address to ask.
    """
    place = asker.place
    if place.kind != "outside":
        ip = next(ip for ip in s.cluster_ips if ":" not in ip)
        why = (
            f"a Pod's packets meet the rules of the node that it runs on, {place.node}"
            if place.kind == "pod"
            else f"packets of the node {place.node} itself meet its own rules"
        )
        enters: Enters = "prerouting" if place.kind == "pod" else "output"
        return Target("cluster", Endpoint(ip, port.port), port, place.node, enters, why)
    balanced = [ip for ip in s.load_balancer_ips if ":" not in ip]
    if balanced and node is None:
        return _balanced(s, port, asker, balanced[0])
    if not port.node_port:
        raise UsageError(
            f"{s} has neither a load balancer's address nor a node port for {port}",
            remedy="`servicelab explain` says why no address was given",
        )
    chosen = next(
        (each for each in s.nodes if name_of(each) == node),
        next((each for each in s.nodes if not _is_control_plane(each)), s.nodes[0]),
    )
    why = f"its node port was asked for at the address of {name_of(chosen)}"
    address = Endpoint(node_ip(chosen), port.node_port)
    return Target("node", address, port, name_of(chosen), "prerouting", why)


def _balanced(s: Snapshot, port: ServicePort, asker: Asker, ip: str) -> Target:
    """A load balancer's address, which leads to the node that answers ARP for it."""
    macs = cast("ArpReply", asker.vantage.ask([ArpRequest(ip)])[0]).macs
    node = next((s.macs[mac] for mac in macs if mac in s.macs), "")
    why = (
        f"{node} answers ARP for {ip}, so packets for it go there"
        if node
        else f"no node answers ARP for {ip}, so packets for it go nowhere"
    )
    return Target("loadbalancer", Endpoint(ip, port.port), port, node, "prerouting", why)


def _is_control_plane(node: Json) -> bool:
    return "node-role.kubernetes.io/control-plane" in labels_of(node)
