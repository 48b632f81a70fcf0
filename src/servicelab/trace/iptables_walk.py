"""A packet's way through kube-proxy's iptables chains: also those that its IPVS mode has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from servicelab.observe.iptables_save import Line, Table
from servicelab.observe.ipvs_table import IpSet
from servicelab.trace.hop import Hop
from servicelab.trace.iptables_match import Moment, matching
from servicelab.trace.iptables_words import does, matched
from servicelab.trace.packet import Endpoint, Packet

_OURS = "KUBE-"
#: Verdicts that end the packet's way through one of the kernel's hooks.
_FINAL = frozenset({"ACCEPT", "DNAT", "DROP", "MASQUERADE", "REJECT"})
_DEEPEST = 16
"""Chains within chains; kube-proxy's are five deep, and a circle would be refused by the kernel."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A node's iptables before and after the connection.

    Attributes:
        before: the tables, as the packet met them.
        after: the packets that each line had matched afterwards, by table and text.
        sets: the ipsets, by name.
    """

    before: Mapping[str, Table]
    after: Mapping[tuple[str, str], int | None]
    sets: Mapping[str, IpSet]

    @classmethod
    def of(
        cls, before: Mapping[str, Table], after: Mapping[str, Table], sets: Sequence[IpSet] = ()
    ) -> Counted:
        """Both readings, as `read_tables` gives them."""
        return cls(
            before,
            {
                (table.name, line.text): line.packets
                for table in after.values()
                for lines in table.chains.values()
                for line in lines
            },
            {each.name: each for each in sets},
        )


class IptablesWalk:
    """Follows one packet from hook to hook.

    Args:
        rules: the node's.
        packet: the packet; it is changed as the rules change it.
        chosen: the endpoint that the kernel's memory of the connection names, where a rule leaves
            it to chance; None if there is none, and counters have to tell.
    """

    def __init__(self, rules: Counted, packet: Packet, chosen: Endpoint | None) -> None:
        self._rules = rules
        self._packet = packet
        self._chosen = chosen

    def hook(self, table: str, hook: str) -> tuple[list[Hop], str]:
        """What kube-proxy's chains do at a hook: the hops, and the verdict, "" if there is none.

        Raises:
            RulesUnreadable: a rule on the way is of a form that kube-proxy is not known to write.
        """
        found = self._rules.before.get(table)
        lines = found.chains.get(hook, []) if found else []
        hops: list[Hop] = []
        for line in lines:
            target = _target(line)
            if not target.startswith(_OURS):
                continue  # a network plug-in's, or the container engine's
            more, verdict = self._line(table, hook, hook, line, 0)
            hops += more
            if verdict in _FINAL:
                return hops, verdict
        return hops, ""

    def _chain(self, table: str, hook: str, chain: str, depth: int) -> tuple[list[Hop], str]:
        hops: list[Hop] = []
        for line in self._rules.before[table].chains[chain]:
            more, verdict = self._line(table, hook, chain, line, depth)
            hops += more
            if verdict:
                return hops, verdict
        return hops, ""

    def _line(
        self, table: str, hook: str, chain: str, line: Line, depth: int
    ) -> tuple[list[Hop], str]:
        """What one line does; an empty list if it does nothing with the packet."""
        options = line.options()
        hop = self._hop(table, hook, chain, line)
        # Looked for only where something is left to chance: there may be thousands of lines.
        by_chance = "--probability" in options or "--rcheck" in options
        chosen = self._leads_to_chosen(table, line) if by_chance else None
        moment = Moment(self._packet, self._rules.sets, chosen, hop)
        if not matching(line, options, moment):
            return [], ""
        target = options.get("-j", "")
        place, total = self._place(table, chain, line)
        hop = replace(
            hop,
            matched=matched(options, self._packet, place, total),
            does=does(options, self._packet),
            verdict=_verdict(options),
        )
        if target in self._rules.before[table].chains:
            if depth >= _DEEPEST:
                raise line.unreadable("chains lead in a circle")
            more, verdict = self._chain(table, hook, target, depth + 1)
            # A jump that came to nothing is no part of the way.
            return ([hop, *more] if more else []), "" if verdict == "RETURN" else verdict
        match target:
            case "DNAT":
                self._packet.send_to(destination(line, options))
            case "MARK":
                self._mark(line, options.get("--set-xmark", ""))
            case "RETURN" if chain != "KUBE-POSTROUTING":
                return [], "RETURN"
            case "":
                return [], ""
        return [hop], "" if target == "MARK" else target

    def _place(self, table: str, chain: str, line: Line) -> tuple[int, int]:
        """A line's place among those that choose an endpoint, and their number; else 0 and 0."""
        choices = [
            each.number
            for each in self._rules.before[table].chains[chain]
            if _target(each).startswith("KUBE-SEP-") and "--rcheck" not in each.text
        ]
        return (choices.index(line.number) + 1, len(choices)) if line.number in choices else (0, 0)

    def _hop(self, table: str, hook: str, chain: str, line: Line) -> Hop:
        after = self._rules.after.get((table, line.text))
        return Hop(hook.lower(), table, chain, line.text, "", "", "", line.packets, after)

    def _mark(self, line: Line, text: str) -> None:
        value, _, mask = text.partition("/")
        try:
            bits = int(value, 0), int(mask or "0xffffffff", 0)
        except ValueError:
            raise line.unreadable("--set-xmark is not a number and a mask") from None
        self._packet.mark = (self._packet.mark & ~bits[1]) ^ bits[0]

    def _leads_to_chosen(self, table: str, line: Line) -> bool | None:
        """Whether a line leads to the chosen endpoint; None if none is known."""
        if self._chosen is None:
            return None
        chain = self._rules.before[table].chains.get(_target(line), [])
        return any(
            destination(inner, options) == self._chosen
            for inner in chain
            if (options := inner.options()).get("-j") == "DNAT"
        )


def destination(line: Line, options: Mapping[str, str]) -> Endpoint:
    """Where a DNAT sends packets to.

    Raises:
        RulesUnreadable: it says no address and port.
    """
    ip, _, port = options.get("--to-destination", "").rpartition(":")
    if not ip or not port.isascii() or not port.isdigit():
        raise line.unreadable("DNAT without an address and a port")
    return Endpoint(ip, int(port))


def _target(line: Line) -> str:
    """Where a line leads; of lines that are not kube-proxy's, options may be unknown."""
    _, found, rest = line.text.rpartition(" -j ")
    return rest.split()[0] if found else ""


def _verdict(options: Mapping[str, str]) -> str:
    target = options.get("-j", "")
    if target == "DNAT":
        return f"dnat {options.get('--to-destination', '')}"
    if target == "MARK":
        return f"mark {options.get('--set-xmark', '')}"
    return f"jump {target}" if target.startswith(_OURS) else target.lower()
