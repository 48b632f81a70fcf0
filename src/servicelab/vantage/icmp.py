"""ICMP echo from a vantage point: what `ping` would say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from servicelab.errors import UsageError
from servicelab.vantage.reply import Reply
from servicelab.vantage.request import Request


@dataclass(frozen=True, slots=True)
class PingRequest(Request):
    """One ICMP echo request.

    Attributes:
        address: IP address, or a name that the vantage point's own resolver looks up.
        source: local address to ask from.
    """

    kind: ClassVar[str] = "ping"

    address: str
    source: str | None = None

    def __post_init__(self) -> None:
        Request.__post_init__(self)
        if not self.address:
            raise UsageError("a ping needs an address")

    @property
    def target(self) -> str:
        """`ping 10.96.0.1`."""
        return f"ping {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PingReply(Reply):
    """The echo, or why there was none.

    `refused` and `unreachable` mean that somebody sent an ICMP error (or that this place itself
    has no way there, and then `reported_by` is empty or one of its own addresses); `timeout` that
    nobody said anything. A Linux host sends a peer only some three to six such errors in a row and
    then one a second (icmp(7): icmp_ratelimit, error_burst), so later ones of many time out.

    Attributes:
        address: the address that was pinged: what a name resolved to.
        answered_by: the address that the echo came from, empty without one.
        reported_by: the address of whoever sent an ICMP error, empty without one.
        icmp: type and code of that error, e.g. (3, 1) for host unreachable (RFC 792).
    """

    kind: ClassVar[str] = "ping"

    address: str = ""
    answered_by: str = ""
    reported_by: str = ""
    icmp: tuple[int, int] | None = None

    @property
    def outcome(self) -> str:
        """Who answered, or the error and who reported it."""
        if not self.error:
            return f"echo from {self.answered_by}"
        by = f", says {self.reported_by}" if self.reported_by else ""
        return f"{self.error}: {self.detail}{by}"

    def _own_json(self) -> dict[str, Any]:
        wire: dict[str, Any] = {
            "address": self.address,
            "answered_by": self.answered_by,
            "reported_by": self.reported_by,
        }
        return wire if self.icmp is None else wire | {"icmp": list(self.icmp)}

    @classmethod
    def _own_fields(cls, wire: Mapping[str, Any]) -> dict[str, Any]:
        icmp = wire.get("icmp")
        return {
            "address": wire.get("address", ""),
            "answered_by": wire.get("answered_by", ""),
            "reported_by": wire.get("reported_by", ""),
            "icmp": None if icmp is None else (int(icmp[0]), int(icmp[1])),
        }
