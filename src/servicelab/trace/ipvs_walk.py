"""The part of a packet's way that IPVS goes itself: the link, the virtual server, the real one."""

from __future__ import annotations

from collections.abc import Sequence

from servicelab.observe.ipvs import IPVS_LINK
from servicelab.observe.ipvs_table import IpvsConnection, RealServer, VirtualServer
from servicelab.trace.hop import Hop
from servicelab.trace.packet import Endpoint, Packet

_SCHEDULERS = {
    "rr": "takes them in turn",
    "wrr": "takes them in turn, by weight",
    "lc": "takes the one with the fewest connections",
    "wlc": "takes the one with the fewest connections, by weight",
    "sh": "takes one by the client's address",
    "dh": "takes one by the destination",
}


def dummy_hop(packet: Packet, held: frozenset[str]) -> Hop | None:
    """The link that holds every Service's address, so that the kernel takes the packet for its own.

    Returns:
        None if the link lacks the address; node ports come by addresses that the node has anyway.
    """
    if packet.destination not in held:
        return None
    return Hop(
        "routing",
        IPVS_LINK,
        "",
        f"inet {packet.destination}/32 scope global {IPVS_LINK}",
        f"destination {packet.destination} is on the link {IPVS_LINK}",
        "the node takes it for its own, which brings it to ip_vs",
        "local",
    )


def server_of(servers: Sequence[VirtualServer], packet: Packet) -> VirtualServer | None:
    """The virtual server that takes a packet."""
    wanted = (packet.protocol.upper(), packet.destination, packet.port)
    return next((each for each in servers if (each.protocol, each.ip, each.port) == wanted), None)


def connection_of(
    connections: Sequence[IpvsConnection], client: Endpoint | None, asked: Endpoint
) -> IpvsConnection | None:
    """IPVS' own memory of a connection; None if it has none."""
    for each in connections:
        if each.virtual == asked and client in (None, each.client):
            return each
    return None


def server_hop(
    packet: Packet,
    before: VirtualServer,
    after: VirtualServer | None,
    chosen: Endpoint | None,
    remembered: IpvsConnection | None,
) -> tuple[Hop, str]:
    """What a virtual server does with a packet, and the verdict: "DNAT" or "REJECT".

    The packet is changed as IPVS changes it. The hop's counters are the real server's connections.

    Args:
        packet: the packet.
        before: the server before the connection.
        after: the same afterwards; None if it is gone.
        chosen: where the kernel's memory of the connection leads; None if it has none, and the
            counters have to tell.
        remembered: IPVS' own memory.
    """
    head = f"{before.protocol}  {packet.to} {before.scheduler}"
    if before.persistent is not None:
        head += f" persistent {before.persistent}"
    matched = f"a virtual server has {packet.to}/{packet.protocol}"
    if not any(real.weight for real in before.reals):
        does = "has no real server: answers with an ICMP error, connection refused"
        return Hop("ip_vs", "ip_vs", "", head, matched, does, "reject"), "REJECT"
    counts = {(real.ip, real.port): _count(real) for real in before.reals}
    counts_after = {(real.ip, real.port): _count(real) for real in (after or before).reals}
    if chosen is None and remembered is not None:
        chosen = Endpoint(*remembered.real)
    if chosen is None:
        moved = [key for key in counts if counts_after.get(key, 0) > counts[key]]
        chosen = Endpoint(*moved[0]) if len(moved) == 1 else None
    if chosen is None or chosen not in counts:
        does = "sends it to a real server, but nothing shows to which"
        return Hop("ip_vs", "ip_vs", "", head, matched, does, "unknown"), ""
    packet.send_to(chosen)
    how = _SCHEDULERS.get(before.scheduler, f"chooses by {before.scheduler}")
    if before.persistent is not None:
        how = f"keeps a client with its real server, else {how}"
    if len(counts) == 1:
        how = "has no other"
    return (
        Hop(
            "ip_vs",
            "ip_vs",
            "",
            f"{head} -> {chosen} Masq",
            f"{matched}, with {len(counts)} real servers; it {how}",
            f"sends it to the real server {chosen}",
            f"dnat {chosen}",
            *_moved(counts[chosen], counts_after.get(chosen)),
        ),
        "DNAT",
    )


def _moved(before: int, after: int | None) -> tuple[int | None, int | None]:
    """Counts that show the connection; others show nothing, since old connections expire."""
    return (before, after) if after is not None and after > before else (None, None)


def _count(real: RealServer) -> int:
    """A real server's connections, open or closing: a new one is in either."""
    return real.active + real.inactive
