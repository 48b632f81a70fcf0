"""The packet that is followed: the first of its connection, from one rule to the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Literal, NamedTuple

#: Where a packet comes to a node's rules: from elsewhere, or from a process of the node itself.
Enters = Literal["prerouting", "output"]

MASQUERADE_MARK = 0x4000
"""kube-proxy's default (iptables.masqueradeBit: 14); its rules say it too."""


class Endpoint(NamedTuple):
    """An address and a port that packets are sent to."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"{self.ip}:{self.port}"


@dataclass(slots=True)
class Packet:
    """The first packet of a connection. Rules change its destination and its mark.

    Attributes:
        protocol: "tcp" or "udp".
        source: its source address.
        destination: its destination address.
        port: its destination port.
        enters: by which way it comes to the rules.
        local: the addresses of the node itself.
        mark: what rules wrote on it for later rules.
        translated: whether its destination was changed.
    """

    protocol: str
    source: str
    destination: str
    port: int
    enters: Enters
    local: frozenset[str] = frozenset()
    mark: int = 0
    translated: bool = field(default=False)

    @property
    def to(self) -> Endpoint:
        """Where it goes as it stands."""
        return Endpoint(self.destination, self.port)

    def send_to(self, endpoint: Endpoint) -> None:
        """Change its destination, as DNAT does."""
        self.destination, self.port = endpoint
        self.translated = True

    def is_local(self, ip: str) -> bool:
        """Whether the node itself has an address."""
        return ip in self.local or ip_address(ip).is_loopback


def within(ip: str, ranges: Iterable[str]) -> bool:
    """Whether an address is in one of some ranges.

    Raises:
        ValueError: one is no range.
    """
    return any(ip_address(ip) in ip_network(each) for each in ranges)
