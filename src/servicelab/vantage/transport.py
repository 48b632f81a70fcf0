"""TCP and UDP from a vantage point: one connection or one datagram, and what came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from servicelab.vantage.reply import DataReply, host_of
from servicelab.vantage.request import Request, bracketed, check_target


@dataclass(frozen=True, slots=True)
class TcpRequest(Request):
    """A TCP connection: connect, send, read.

    Attributes:
        address: IP address or name.
        port: TCP port.
        send: bytes to send once connected.
        read: bytes to read at most; 0 reads nothing and closes after connecting.
        line: stop reading after the first newline.
        source: local address to ask from.
    """

    kind: ClassVar[str] = "tcp"
    BYTES: ClassVar[frozenset[str]] = frozenset({"send"})

    address: str
    port: int
    send: bytes = b""
    read: int = 0
    line: bool = False
    source: str | None = None

    def __post_init__(self) -> None:
        Request.__post_init__(self)
        check_target(self.address, self.port)

    @property
    def idempotent(self) -> bool:
        """Only while nothing is sent."""
        return not self.send

    @property
    def target(self) -> str:
        """`tcp 10.96.0.1:80`."""
        return f"tcp {bracketed(self.address)}:{self.port}"


@dataclass(frozen=True, slots=True)
class UdpRequest(Request):
    """One datagram and the one that answers it, from a source port of its own.

    Attributes:
        address: IP address or name.
        port: UDP port.
        payload: the datagram; the labs' backend knows `hostname`, `clientip` and `echo TEXT`.
        source: local address to ask from.
    """

    kind: ClassVar[str] = "udp"
    BYTES: ClassVar[frozenset[str]] = frozenset({"payload"})

    address: str
    port: int
    payload: bytes = b"hostname"
    source: str | None = None

    def __post_init__(self) -> None:
        Request.__post_init__(self)
        check_target(self.address, self.port)

    @property
    def target(self) -> str:
        """`udp 10.96.0.1:53`."""
        return f"udp {bracketed(self.address)}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpReply(DataReply):
    """A TCP connection, and what was read from it; the data is kept beside an error."""

    kind: ClassVar[str] = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpReply(DataReply):
    """The datagram that came back."""

    kind: ClassVar[str] = "udp"

    @property
    def pod(self) -> str | None:
        """What the backend said to `hostname`."""
        return self._said(b"hostname")

    @property
    def client_ip(self) -> str | None:
        """What the backend said to `clientip`, without the port."""
        said = self._said(b"clientip")
        return None if said is None else host_of(said)

    def _said(self, command: bytes) -> str | None:
        asked = isinstance(self.request, UdpRequest) and self.request.payload.strip() == command
        return self.text.strip() if self.ok and asked else None
