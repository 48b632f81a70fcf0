"""What one request met, as the probe saw it.

`ok` says that the target answered in its protocol: an HTTP 404 or an NXDOMAIN is an answer.
Who answered, and what client address it saw, come from the labs' web backend, which says its
Pod's name at /hostname and the client's address at /clientip (and over UDP likewise).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Self

from servicelab.vantage.request import Request


class ErrorClass(StrEnum):
    """Why there was no answer; the kinds that a user of a Service can tell apart."""

    REFUSED = "refused"
    """A reset on connecting, or ICMP port unreachable."""
    TIMEOUT = "timeout"
    """Nothing came back in time."""
    UNREACHABLE = "unreachable"
    """No route, or ICMP says that host or network can't be reached."""
    RESET = "reset"
    """An established connection was reset."""
    CLOSED = "closed"
    """The peer closed before it had answered."""
    NAME = "name"
    """The name did not resolve."""
    PROTOCOL = "protocol"
    """Something answered, but not in the protocol asked."""
    OTHER = "other"
    """Anything else; `detail` says what."""


class SocketAddress(NamedTuple):
    """One end of a connection."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What every reply says.

    Attributes:
        request: what was asked.
        error: why there was no answer; None when there was one.
        detail: the error in the system's words, else empty.
        local: our end of the connection, None if it never came about.
        peer: the other end, as we addressed it (the Service's address, not the Pod's).
        connect_seconds: from the start until connected (TCP), None otherwise.
        seconds: from the start until the last answer or the error.
        started: seconds since the epoch, by the clock of the vantage point.
    """

    kind: ClassVar[str] = ""

    request: Request
    error: ErrorClass | None = None
    detail: str = ""
    local: SocketAddress | None = None
    peer: SocketAddress | None = None
    connect_seconds: float | None = None
    seconds: float = 0.0
    started: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there was an answer, whatever it says."""
        return self.error is None

    @property
    def pod(self) -> str | None:
        """Name of the Pod that answered, where it said so."""
        return None

    @property
    def client_ip(self) -> str | None:
        """The client address that the Pod saw, where it said so."""
        return None

    @property
    def status(self) -> int | None:
        """HTTP status, None for other kinds and without an answer."""
        return None

    @property
    def outcome(self) -> str:
        """The reply in a few words."""
        return f"{self.error}: {self.detail}" if self.error else "ok"

    def __str__(self) -> str:
        """Who answered, else the outcome; without times, so that equal replies read the same."""
        return self.pod or self.outcome

    def to_json(self) -> dict[str, Any]:
        """The reply with its request, for evidence; `reply_from_json` reads it back."""
        wire: dict[str, Any] = {"request": self.request.to_json(), "ok": self.ok}
        if self.error:
            wire |= {"error": str(self.error), "detail": self.detail}
        for name in ("local", "peer"):
            value = getattr(self, name)
            if value is not None:
                wire[name] = list(value)
        if self.connect_seconds is not None:
            wire["connect_seconds"] = self.connect_seconds
        return wire | {"seconds": self.seconds, "started": self.started} | self._own_json()

    def _own_json(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], request: Request) -> Self:
        """Read what the probe wrote about this request."""
        error = wire.get("error")
        return cls(
            request=request,
            error=ErrorClass(error) if error else None,
            detail=wire.get("detail", ""),
            local=_socket_address(wire.get("local")),
            peer=_socket_address(wire.get("peer")),
            connect_seconds=wire.get("connect_seconds"),
            seconds=wire.get("seconds", 0.0),
            started=wire.get("started", 0.0),
            **cls._own_fields(wire),
        )

    @classmethod
    def _own_fields(cls, wire: Mapping[str, Any]) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReply(Reply):
    """Bytes that came back over TCP or UDP, or out of a file."""

    data: bytes = b""

    @property
    def text(self) -> str:
        """The data as UTF-8; what isn't comes as replacement characters."""
        return self.data.decode("utf-8", "replace")

    def _own_json(self) -> dict[str, Any]:
        return {"data": self.data.decode("latin-1")}

    @classmethod
    def _own_fields(cls, wire: Mapping[str, Any]) -> dict[str, Any]:
        return {"data": wire.get("data", "").encode("latin-1")}


def _socket_address(wire: list[Any] | None) -> SocketAddress | None:
    return None if not wire else SocketAddress(str(wire[0]), int(wire[1]))


def host_of(text: str) -> str:
    """The address in what the backend says: `10.244.1.2` of `10.244.1.2:4711`.

    An IPv4 address written as IPv6 becomes IPv4 again.
    """
    host = text.rsplit(":", 1)[0].strip("[]")
    return host.removeprefix("::ffff:") if "." in host else host
