"""ARP from a vantage point: who on its link has an address, and what is said about it unasked.

The probe needs CAP_NET_RAW for either; the outside containers have it, Pods and nodes' probes have
not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from servicelab.errors import UsageError
from servicelab.vantage.reply import Reply
from servicelab.vantage.request import Request

DEFAULT_ARP_TIMEOUT = 1.0
"""Seconds to wait for the first to answer; on a link it takes less than a millisecond."""

DEFAULT_GATHER = 0.2
"""Seconds to listen after an answer for another one. Two hosts that both claim an address answer
the same frame, so all that may lie between them is the load of the machine."""


@dataclass(frozen=True, slots=True)
class ArpRequest(Request):
    """Who has an address? Asked once, by broadcast, past the kernel's own neighbour table.

    Attributes:
        address: an IPv4 address.
        link: the network interface to ask on; None is the one that the address is routed to.
        gather: seconds to listen for further answers after each one.
        timeout: seconds for all of it.
    """

    kind: ClassVar[str] = "arp"

    address: str
    link: str | None = None
    gather: float = DEFAULT_GATHER
    timeout: float = field(default=DEFAULT_ARP_TIMEOUT, kw_only=True)

    def __post_init__(self) -> None:
        Request.__post_init__(self)
        _check_ipv4(self.address)
        if self.gather < 0:
            raise UsageError(f"ARP answers can't be gathered for {self.gather} s")

    @property
    def target(self) -> str:
        """`who has 172.18.255.1`."""
        return f"who has {self.address}"


@dataclass(frozen=True, slots=True)
class ArpWatchRequest(Request):
    """Listen to what is said about an address, as request or answer, gratuitous or not.

    As a question it listens for `timeout` seconds; as a stream until the stream is left, with one
    reply for each packet and nothing missed between two.

    Attributes:
        address: an IPv4 address.
        link: the network interface to listen on; None is the one that the address is routed to.
        timeout: seconds to listen, as a question.
    """

    kind: ClassVar[str] = "arp_watch"

    address: str
    link: str | None = None
    timeout: float = field(default=DEFAULT_ARP_TIMEOUT, kw_only=True)

    def __post_init__(self) -> None:
        Request.__post_init__(self)
        _check_ipv4(self.address)

    @property
    def target(self) -> str:
        """`ARP about 172.18.255.1`."""
        return f"ARP about {self.address}"


@dataclass(frozen=True, slots=True)
class ArpAnswer:
    """One host's claim to an address.

    Attributes:
        mac: its MAC address, `02:42:ac:12:00:03`.
        seconds: since the question.
    """

    mac: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ArpPacket:
    """One ARP packet that was heard (RFC 826).

    Attributes:
        at: seconds since the epoch, by the clock of the vantage point.
        op: `request` or `reply`.
        sender_mac, sender_ip: who says it, and what it claims to be.
        target_mac, target_ip: whom it is about (request) or for (reply).
        from_mac, to_mac: the frame's ends; to `ff:ff:ff:ff:ff:ff` if it went to all.
    """

    at: float
    op: str
    sender_mac: str
    sender_ip: str
    target_mac: str
    target_ip: str
    from_mac: str
    to_mac: str

    @property
    def gratuitous(self) -> bool:
        """Whether it tells everybody where an address is, without having been asked
        (RFC 5227: sender and target address are the same)."""
        return self.sender_ip == self.target_ip

    def __str__(self) -> str:
        if self.gratuitous:
            return f"gratuitous {self.op}: {self.sender_ip} is at {self.sender_mac}"
        if self.op == "request":
            return f"who has {self.target_ip}? tell {self.sender_ip} ({self.sender_mac})"
        return f"{self.sender_ip} is at {self.sender_mac}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArpReply(Reply):
    """Everybody who said that they have the address; `timeout` if nobody did.

    Attributes:
        link: the network interface that was asked on.
        answers: in the order in which they came; a host that answers twice is there twice.
    """

    kind: ClassVar[str] = "arp"

    link: str = ""
    answers: tuple[ArpAnswer, ...] = ()

    @property
    def macs(self) -> tuple[str, ...]:
        """The MAC addresses that claimed it, each once, the first to answer first."""
        return tuple(dict.fromkeys(each.mac for each in self.answers))

    @property
    def outcome(self) -> str:
        """Who has it, or the error."""
        return f"{self.error}: {self.detail}" if self.error else f"is at {', '.join(self.macs)}"

    def _own_json(self) -> dict[str, Any]:
        answers = [{"mac": each.mac, "seconds": each.seconds} for each in self.answers]
        return {"link": self.link, "answers": answers}

    @classmethod
    def _own_fields(cls, wire: Mapping[str, Any]) -> dict[str, Any]:
        answers = tuple(ArpAnswer(**each) for each in wire.get("answers", ()))
        return {"link": wire.get("link", ""), "answers": answers}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArpWatchReply(Reply):
    """What was heard; silence is an answer too.

    Attributes:
        link: the network interface that was listened on.
        packets: in order; exactly one in each reply of a stream.
    """

    kind: ClassVar[str] = "arp_watch"

    link: str = ""
    packets: tuple[ArpPacket, ...] = ()

    @property
    def outcome(self) -> str:
        """The packets, or the error."""
        if self.error:
            return f"{self.error}: {self.detail}"
        return "; ".join(map(str, self.packets)) or "silence"

    def _own_json(self) -> dict[str, Any]:
        packets = [{name: getattr(each, name) for name in each.__slots__} for each in self.packets]
        return {"link": self.link, "packets": packets}

    @classmethod
    def _own_fields(cls, wire: Mapping[str, Any]) -> dict[str, Any]:
        packets = tuple(ArpPacket(**each) for each in wire.get("packets", ()))
        return {"link": wire.get("link", ""), "packets": packets}


def _check_ipv4(address: str) -> None:
    try:
        ipaddress.IPv4Address(address)
    except ValueError as error:
        raise UsageError(f"ARP is about IPv4 addresses, which {address!r} is not") from error
