"""What the kernel tells of a packet that it was asked to trace: every rule, as it met it.

The text is that of `nft --handle monitor`, nft 1.0. iptables tells here too where it is built on
nftables, as on most systems since 2020.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from servicelab.trace.hop import Hop
from servicelab.trace.packet import Endpoint

_LINE = re.compile(
    r"trace id ([0-9a-f]+) (\S+) (\S+) (\S+) (packet: |rule |unknown rule |policy )(.*)"
)
_PACKET = re.compile(
    r".*?\bip saddr (\S+) ip daddr (\S+) .*?\b(?:tcp|udp) sport (\d+) (?:tcp|udp) dport (\d+)"
)
_RULE = re.compile(r"(.*?)\s*(?:# )?\bhandle (\d+) \(verdict ([^()]+)\)\s*")
#: What nft calls the verdicts of a hop's rule; a reject sends its answer, and drops the packet.
_VERDICTS = {"dnat": "accept", "masquerade": "accept", "mark": "continue", "reject": "drop"}


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that matched.

    Attributes:
        table: the table's name.
        chain: the chain.
        handle: the number that the kernel knows the rule by.
        text: the rule, as nft prints it; "" if it was not known.
        verdict: what came of it, such as "jump KUBE-SERVICES" or "continue".
    """

    table: str
    chain: str
    handle: int
    text: str
    verdict: str


@dataclass(slots=True)
class Told:
    """One packet.

    Attributes:
        id: what the kernel calls it.
        steps: the rules that matched, in order.
        ends: its source and destination each time that it came to a base chain, in order.
    """

    id: str
    steps: list[Step] = field(default_factory=list)
    ends: list[tuple[Endpoint, Endpoint]] = field(default_factory=list)

    @property
    def destination(self) -> Endpoint | None:
        """Where it went in the end; None if the kernel never said."""
        return self.ends[-1][1] if self.ends else None


def parse_told(lines: Iterable[str]) -> tuple[Told, ...]:
    """Read what `nft --handle monitor` printed; anything but traces is left out.

    A line that is cut is left out too: what it would have told counts as not told.
    """
    found: dict[str, Told] = {}
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        name, family, table, chain, kind, rest = match.groups()
        told = found.setdefault(name, Told(name))
        if family not in ("ip", "inet"):
            continue
        if kind == "packet: " and (ends := _PACKET.match(rest)):
            source, destination, sport, dport = ends.groups()
            told.ends.append((Endpoint(source, int(sport)), Endpoint(destination, int(dport))))
        elif kind.endswith("rule ") and (rule := _RULE.fullmatch(rest)):
            text, handle, verdict = rule.groups()
            told.steps.append(Step(table, chain, int(handle), text.strip(), verdict.strip()))
    return tuple(found.values())


def told_of(told: Iterable[Told], source: Endpoint | None, destination: Endpoint) -> Told | None:
    """The first packet of a connection.

    Args:
        told: every packet that was traced.
        source: the client's address and port; None if they are not known.
        destination: what it asked.
    """
    for each in told:
        if each.ends and each.ends[0][1] == destination and source in (None, each.ends[0][0]):
            return each
    return None


def with_told(hops: Iterable[Hop], told: Told | None, *, certain: bool = True) -> tuple[Hop, ...]:
    """The hops, each marked with whether the kernel named its rule, in this order.

    Args:
        hops: rules of tables and chains; others are left as they are.
        told: the packet; None leaves all as they are.
        certain: whether a rule that was not named was not met. IPVS sends packets on, and whether
            the kernel goes on tracing them is its own affair.
    """
    if told is None:
        return tuple(hops)
    marked: list[Hop] = []
    at = 0
    for hop in hops:
        if not hop.chain:
            marked.append(hop)
            continue
        place = next((n for n, step in enumerate(told.steps[at:], at) if _is_of(step, hop)), None)
        marked.append(
            replace(hop, told=True if place is not None else (False if certain else None))
        )
        at = at if place is None else place + 1
    return tuple(marked)


def _is_of(step: Step, hop: Hop) -> bool:
    if (step.table, step.chain) != (hop.table.removeprefix("ip "), hop.chain):
        return False
    if hop.handle:
        return step.handle == hop.handle
    word, _, _ = hop.verdict.partition(" ")
    return step.verdict == _VERDICTS.get(word, hop.verdict)
