"""The kernel's own memory of a connection: conntrack's entries, with the tuples of both ways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from servicelab.observe.port_rules import address, port_number
from servicelab.observe.unreadable import RulesUnreadable
from servicelab.trace.packet import Endpoint

_WAYS = ("src", "dst", "sport", "dport")
_PROTOCOLS = ("tcp", "udp")


@dataclass(frozen=True, slots=True)
class Direction:
    """One way of a connection."""

    source: Endpoint
    destination: Endpoint

    def __str__(self) -> str:
        return f"{self.source} → {self.destination}"

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        return {"source": str(self.source), "destination": str(self.destination)}


@dataclass(frozen=True, slots=True)
class Connection:
    """An entry of conntrack's.

    Attributes:
        protocol: "tcp" or "udp".
        state: such as "TIME_WAIT"; "" for UDP.
        original: from the client to what it asked.
        reply: from the backend to what it saw as its client.
        line: the entry as the kernel prints it.
    """

    protocol: str
    state: str
    original: Direction
    reply: Direction
    line: str

    @property
    def backend(self) -> Endpoint | None:
        """Where it was sent instead; None if its destination was not changed."""
        return None if self.reply.source == self.original.destination else self.reply.source

    @property
    def seen_as(self) -> str:
        """The client's address, as the backend sees it."""
        return self.reply.destination.ip

    @property
    def masqueraded(self) -> bool:
        """Whether its source was changed; to the same address, it shows in the port alone."""
        return self.reply.destination != self.original.source

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "original": self.original.to_json(),
            "reply": self.reply.to_json(),
            "state": self.state,
            "line": self.line,
        }


def parse_conntrack(text: str) -> tuple[Connection, ...]:
    """Read the output of `conntrack -L`, or /proc/net/nf_conntrack; TCP and UDP over IPv4.

    Raises:
        RulesUnreadable: an entry is cut or garbled; the message names its line.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words[:1] == ["ipv6"]:
            continue
        if words[:1] == ["ipv4"]:
            words = words[2:]
        if words and words[0] not in _PROTOCOLS:
            continue
        where = f"conntrack line {number}"
        ways = _ways(words, where, line)
        state = words[3] if words[0] == "tcp" and "=" not in words[3] else ""
        found.append(Connection(words[0], state, *ways, line.strip()))
    return tuple(found)


def new_connections(
    before: Iterable[Connection], after: Iterable[Connection]
) -> tuple[Connection, ...]:
    """Those that are there now and were not before, by their two tuples."""
    known = {(each.protocol, each.original, each.reply) for each in before}
    return tuple(each for each in after if (each.protocol, each.original, each.reply) not in known)


def _ways(words: list[str], where: str, line: str) -> tuple[Direction, Direction]:
    values: dict[str, list[str]] = {key: [] for key in _WAYS}
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in values:
            values[key].append(value)
    if len(words) < 4 or any(len(each) != 2 for each in values.values()):
        raise RulesUnreadable(where, "not the two ways of a connection", line)
    original, reply = (
        Direction(
            Endpoint(address(src, where), port_number(sport, where)),
            Endpoint(address(dst, where), port_number(dport, where)),
        )
        for src, dst, sport, dport in zip(*values.values(), strict=True)
    )
    return original, reply
