"""The whole way of a packet through one node, in each proxy mode."""

from __future__ import annotations

from dataclasses import dataclass

from servicelab.observe.iptables_save import Table, read_tables
from servicelab.observe.ipvs_table import (
    parse_addresses,
    parse_connections,
    parse_sets,
    parse_table,
)
from servicelab.observe.nftables_table import read_table
from servicelab.observe.unreadable import RulesUnreadable
from servicelab.trace.hop import End, Hop, Way
from servicelab.trace.iptables_walk import Counted, IptablesWalk
from servicelab.trace.ipvs_walk import connection_of, dummy_hop, server_hop, server_of
from servicelab.trace.nftables_walk import NftablesWalk, rule_texts
from servicelab.trace.packet import Endpoint, Packet
from servicelab.trace.readings import Reading

_ENDS: dict[str, End] = {"REJECT": "rejected", "DROP": "dropped"}


@dataclass(slots=True)
class _Walked:
    """Hops as they are gathered, and whether the packet is through."""

    hops: list[Hop]
    verdict: str = ""

    def add(self, found: tuple[list[Hop], str]) -> bool:
        """Take a hook's hops; whether the packet goes on."""
        hops, verdict = found
        self.hops += hops
        self.verdict = verdict.upper()
        return self.verdict not in _ENDS

    def way(self, packet: Packet) -> Way:
        """What it comes to."""
        end: End = _ENDS.get(self.verdict, "backend" if packet.translated else "untranslated")
        masqueraded = any(hop.verdict == "masquerade" for hop in self.hops)
        backend = packet.to if packet.translated else None
        return Way(tuple(self.hops), end, backend, masqueraded)


def follow(
    mode: str,
    before: Reading,
    after: Reading,
    packet: Packet,
    chosen: Endpoint | None,
    client: Endpoint | None = None,
) -> Way:
    """Follow a connection's first packet through a node's rules.

    Args:
        mode: kube-proxy's mode: iptables, nftables or ipvs.
        before: the node, as the packet met it.
        after: the same afterwards.
        packet: the packet as it came in.
        chosen: where the kernel's memory of the connection leads; None if it has none.
        client: the packet's source address and port; None if they are not known.

    Raises:
        RulesUnreadable: the rules on its way are cut or garbled; the message names the line.
    """
    if mode == "nftables":
        return _nftables(before, packet, chosen)
    if mode == "ipvs":
        return _ipvs(before, after, packet, chosen, client)
    return _iptables(before, after, packet, chosen)


def _iptables(before: Reading, after: Reading, packet: Packet, chosen: Endpoint | None) -> Way:
    rules = Counted.of(_tables(before), _tables(after))
    walk = IptablesWalk(rules, packet, chosen)
    walked = _Walked([])
    hooks = [("nat", packet.enters.upper())]
    for table, hook in hooks:
        if not walked.add(walk.hook(table, hook)):
            return walked.way(packet)
    through = _through(packet)
    if walked.add(walk.hook("filter", through)) and through != "INPUT":
        walked.add(walk.hook("nat", "POSTROUTING"))
    return walked.way(packet)


def _tables(reading: Reading) -> dict[str, Table]:
    """A node's tables; without one of these two, the text is cut."""
    tables = read_tables(reading.texts["iptables"])
    for name in ("nat", "filter"):
        if name not in tables:
            raise RulesUnreadable(f"iptables table {name}", "it is missing")
    return tables


def _through(packet: Packet) -> str:
    """The hook after translation: the node's own door, the way through it, or the way out."""
    if packet.enters == "output":
        return "OUTPUT"
    return "INPUT" if packet.is_local(packet.destination) else "FORWARD"


def _nftables(before: Reading, packet: Packet, chosen: Endpoint | None) -> Way:
    table = read_table(before.texts["nft"])
    walk = NftablesWalk(table, rule_texts(before.texts["nft_text"]), packet, chosen)
    walked = _Walked([])
    for chain in (f"filter-{packet.enters}-pre-dnat", f"nat-{packet.enters}"):
        if not walked.add(walk.hook(chain)):
            return walked.way(packet)
    through = _through(packet)
    if walked.add(walk.hook(f"filter-{through.lower()}")) and through != "INPUT":
        walked.add(walk.hook("nat-postrouting"))
    return walked.way(packet)


def _ipvs(
    before: Reading,
    after: Reading,
    packet: Packet,
    chosen: Endpoint | None,
    client: Endpoint | None,
) -> Way:
    rules = Counted.of(
        _tables(before),
        _tables(after),
        parse_sets(before.texts["ipsets"]),
    )
    servers = parse_table(before.texts["ipvs"])
    held = parse_addresses(before.texts["dummy"])
    walk = IptablesWalk(rules, packet, chosen)
    walked = _Walked([])
    if not walked.add(walk.hook("nat", packet.enters.upper())):
        return walked.way(packet)
    # What kube-ipvs0 holds is the node's own by then.
    if dummy := dummy_hop(packet, held):
        walked.hops.append(dummy)
    server = server_of(servers, packet)
    # The node's own packets come to ip_vs before the filter, others after it.
    if packet.enters != "output" and not walked.add(walk.hook("filter", "INPUT")):
        return walked.way(packet)
    if server is None:
        return walked.way(packet)
    asked = packet.to
    remembered = connection_of(parse_connections(after.texts["ipvs_connections"]), client, asked)
    now = server_of(parse_table(after.texts["ipvs"]), packet)
    hop, verdict = server_hop(packet, server, now, chosen, remembered)
    walked.hops.append(hop)
    walked.verdict = verdict
    if verdict != "REJECT" and walked.add(walk.hook("filter", "OUTPUT")):
        walked.add(walk.hook("nat", "POSTROUTING"))
    return walked.way(packet)
