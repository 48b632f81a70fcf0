"""A router's own tables, as gobgp prints them with `--json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The states of RFC 4271, by GoBGP's numbers for them.
STATES = {
    1: "Idle",
    2: "Connect",
    3: "Active",
    4: "OpenSent",
    5: "OpenConfirm",
    6: "Established",
}
ESTABLISHED = "Established"

#: Next hops by prefix: {"172.18.255.200/32": {"172.18.0.3", "172.18.0.4"}}.
Routes = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One line of a router's neighbour table.

    Attributes:
        address: the neighbour's.
        asn: its autonomous system, as it is expected.
        state: of the session with it, in RFC 4271's words: "Active" while it is waited for,
            "Established" once routes can be told.
    """

    address: str
    asn: int
    state: str

    @property
    def is_up(self) -> bool:
        """Whether there is a session."""
        return self.state == ESTABLISHED

    def __str__(self) -> str:
        return f"{self.address} {self.state}"


def parse_neighbours(text: str) -> list[Neighbour]:
    """What `gobgp --json neighbor` prints, by address."""
    entries: list[dict[str, Any]] = json.loads(text) or []
    neighbours = [
        Neighbour(
            each["conf"]["neighbor_address"],
            each["conf"]["peer_asn"],
            STATES.get(each["state"].get("session_state", 0), "Unknown"),
        )
        for each in entries
    ]
    return sorted(neighbours, key=lambda neighbour: neighbour.address)


def parse_routes(text: str) -> dict[str, frozenset[str]]:
    """What `gobgp --json global rib` prints: every next hop of each prefix, not only the best."""
    table: dict[str, list[dict[str, Any]]] = json.loads(text) or {}
    return {
        prefix: frozenset(
            attribute["nexthop"]
            for path in paths
            for attribute in path["attrs"]
            if "nexthop" in attribute
        )
        for prefix, paths in table.items()
    }


def routes_in_words(routes: Routes) -> str:
    """Each prefix with its next hops."""
    listed = (f"{prefix} via {_words(routes[prefix])}" for prefix in sorted(routes))
    return "; ".join(listed) or "no route"


def _words(next_hops: frozenset[str]) -> str:
    return ", ".join(sorted(next_hops)) or "nobody"
