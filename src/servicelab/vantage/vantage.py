"""A place to ask from, and how to ask there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, cast

from servicelab.errors import InfrastructureError, UsageError
from servicelab.vantage.arp import ArpReply, ArpRequest, ArpWatchReply, ArpWatchRequest
from servicelab.vantage.channel import ChannelBroken, ChannelFactory, Line
from servicelab.vantage.dns import DnsReply, DnsRequest, ResolveReply, ResolveRequest
from servicelab.vantage.hearing import let_hear
from servicelab.vantage.http import HttpReply, HttpRequest
from servicelab.vantage.icmp import PingReply, PingRequest
from servicelab.vantage.place import (
    FileReply,
    InterfacesReply,
    InterfacesRequest,
    ReadFileRequest,
)
from servicelab.vantage.replies import Replies
from servicelab.vantage.reply import Reply
from servicelab.vantage.request import DEFAULT_TIMEOUT, Request
from servicelab.vantage.stream import MOST_REPLIES, Stream
from servicelab.vantage.transport import TcpReply, TcpRequest, UdpReply, UdpRequest
from servicelab.vantage.wire import reply_from_json
from servicelab.verdict import deadlines


class Vantage:
    """A place to ask from: a Pod, a node or an outside container.

    The probe there is reached over a channel that opens with the first question and stays open.
    Threads may share a vantage point; their questions go one after the other.

    Args:
        name: for messages and evidence, e.g. `Pod shop/client-a` or `outside`.
        channel_factory: opens a channel to the probe there.
    """

    def __init__(self, name: str, channel_factory: ChannelFactory) -> None:
        self.name = name
        self._factory = channel_factory
        self._line: Line | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the next question opens a channel again."""
        with self._lock:
            self._hang_up()

    def reach(self) -> dict[str, Any]:
        """Reach the probe without asking anything of anyone; says its version and clock.

        Raises:
            ChannelBroken: it can't be reached.
        """
        return self._call("ping", 0.0, again=True)

    def ask(self, requests: Sequence[Request], *, workers: int = 1) -> Replies[Reply]:
        """Ask everything in one call.

        Args:
            requests: asked in this order, each on a connection and source port of its own.
            workers: how many the probe asks at the same time; 1 keeps the order on the wire.

        Returns:
            The replies in the order of the requests. What goes wrong between the probe and a
            target is in the reply, never raised.

        Raises:
            InfrastructureError: the probe can't be reached. A lost channel is opened once more
                if asking twice does no harm (no POST, nothing sent over TCP).
        """
        if not requests:
            return Replies((), self.name)
        if not 1 <= workers <= 64:
            raise UsageError(f"{workers} workers are not between 1 and 64")
        seconds = [each.timeout for each in requests]
        answer = self._call(
            "ask",
            sum(seconds) / min(workers, len(requests)) + max(seconds),
            again=all(each.idempotent for each in requests),
            requests=[each.to_json() for each in requests],
            workers=workers,
        )
        wire = answer["replies"]
        if len(wire) != len(requests):
            raise InfrastructureError(
                f"the probe of {self.name} gave {len(wire)} replies to {len(requests)} requests"
            )
        pairs = zip(wire, requests, strict=True)
        replies = Replies((reply_from_json(said, asked) for said, asked in pairs), self.name)
        let_hear(replies)
        return replies

    def web(
        self,
        target: str,
        port: int | None = None,
        *,
        times: int = 1,
        host: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        source: str | None = None,
        workers: int = 1,
    ) -> Replies[HttpReply]:
        """Ask the labs' web backend who answers, and what client address it sees.

        Args:
            target: a URL (its path is not used), or an address or name, with `port`.
            port: TCP port, if the target is not a URL; 80 if neither says one.
            times: how often, each time on a new connection.
            host: Host header.
            timeout: seconds for each request.
            source: local address to ask from.
            workers: how many at the same time.
        """
        request = self._http(target, port, host=host, timeout=timeout, source=source)
        replies = self.ask([request] * times, workers=workers)
        return cast("Replies[HttpReply]", replies)

    def get(self, url: str, **details: Any) -> HttpReply:
        """GET a URL once.

        Args:
            url: http://HOST[:PORT]/PATH.
            details: fields of HttpRequest: host, headers, also, source, timeout, most_bytes …
        """
        return cast("HttpReply", self.ask([HttpRequest.to(url, **details)])[0])

    def post(self, url: str, body: bytes, **details: Any) -> HttpReply:
        """POST a body to a URL once; never repeated, whatever breaks."""
        return self.get(url, method="POST", body=body, **details)

    def tcp(self, address: str, port: int, **details: Any) -> TcpReply:
        """Open a TCP connection; `send`, `read`, `line`, `timeout`, `source` as in TcpRequest."""
        return cast("TcpReply", self.ask([TcpRequest(address, port, **details)])[0])

    def udp(
        self, address: str, port: int, payload: bytes = b"hostname", **details: Any
    ) -> UdpReply:
        """Send one datagram and wait for one; `timeout` and `source` as in UdpRequest."""
        return cast("UdpReply", self.ask([UdpRequest(address, port, payload, **details)])[0])

    def dns(
        self, name: str, rdtype: str = "A", *, server: str | None = None, **details: Any
    ) -> DnsReply:
        """Ask a name server (the place's own first one if none is named) for a full name.

        Args:
            name: taken as fully qualified; for PTR an IP address may stand here.
            rdtype: A, AAAA, SRV, PTR, CNAME, …
            server: IP address of the name server.
            details: port, tcp, edns, recursion, timeout as in DnsRequest.
        """
        return cast("DnsReply", self.ask([DnsRequest(name, rdtype, server, **details)])[0])

    def resolve(self, name: str, **details: Any) -> ResolveReply:
        """Look a name up as any program there would, with search list and hosts file."""
        return cast("ResolveReply", self.ask([ResolveRequest(name, **details)])[0])

    def ping(self, address: str, **details: Any) -> PingReply:
        """Send an ICMP echo request to an address or name; `timeout`, `source` in PingRequest."""
        return cast("PingReply", self.ask([PingRequest(address, **details)])[0])

    def who_has(self, address: str, **details: Any) -> ArpReply:
        """Ask by ARP who has an IPv4 address, and gather every answer.

        Args:
            address: the address.
            details: link, gather, timeout as in ArpRequest.
        """
        return cast("ArpReply", self.ask([ArpRequest(address, **details)])[0])

    def hear_arp(self, address: str, seconds: float, link: str | None = None) -> ArpWatchReply:
        """Listen for so many seconds to what ARP says about an IPv4 address."""
        request = ArpWatchRequest(address, link, timeout=seconds)
        return cast("ArpWatchReply", self.ask([request])[0])

    def watch_arp(
        self, address: str, link: str | None = None, *, most: int = MOST_REPLIES
    ) -> Stream[ArpWatchReply]:
        """What ARP says about an IPv4 address while something else happens: a reply per packet."""
        request = ArpWatchRequest(address, link)
        return Stream(self.name, self._factory, request, every=request.timeout, most=most)

    def interfaces(self) -> InterfacesReply:
        """The addresses on each link there."""
        return cast("InterfacesReply", self.ask([InterfacesRequest()])[0])

    def read_file(self, path: str) -> str:
        """The text of a file there.

        Raises:
            InfrastructureError: there is no such file, or the probe does not read it.
        """
        reply = cast("FileReply", self.ask([ReadFileRequest(path)])[0])
        if not reply.ok:
            raise InfrastructureError(f"{self.name} can't read {path}: {reply.detail}")
        return reply.text

    def continuously(
        self, request: Request, *, every: float = 0.02, most: int = MOST_REPLIES
    ) -> Stream[Reply]:
        """A continuous client, on a channel of its own: `ask` works meanwhile.

        Args:
            request: what to ask over and over.
            every: seconds from one start to the next.
            most: replies after which it stops asking.
        """
        return Stream(self.name, self._factory, request, every=every, most=most)

    def continuously_web(
        self,
        target: str,
        port: int | None = None,
        *,
        every: float = 0.02,
        most: int = MOST_REPLIES,
        host: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Stream[HttpReply]:
        """As `continuously`, asking what `web` asks."""
        request = self._http(target, port, host=host, timeout=timeout, source=None)
        return Stream(self.name, self._factory, request, every=every, most=most)

    @staticmethod
    def _http(target: str, port: int | None, **details: Any) -> HttpRequest:
        details |= {"path": "/hostname", "also": ("/clientip",)}
        if "://" not in target:
            return HttpRequest(target, 80 if port is None else port, **details)
        if port is not None:
            raise UsageError(f"{target} is a URL and has its own port; leave the other out")
        return HttpRequest.to(target, **details)

    def _call(self, op: str, seconds: float, *, again: bool, **details: Any) -> dict[str, Any]:
        """Have the probe do something that takes so many seconds at most."""
        timeout = seconds + deadlines.current().probe_answers.seconds
        with self._lock:
            # Only a channel that has worked before is worth a second one: between two calls the
            # far end may have been restarted. One that was opened just now has no such excuse.
            if self._line is not None:
                try:
                    return self._line.ask(op, timeout, **details)
                except ChannelBroken:
                    self._hang_up()
                    if not again:
                        raise
            self._line = Line(self._factory())
            try:
                reached = deadlines.current().probe_reached.seconds  # a probe may still start
                return self._line.ask(op, timeout + reached, **details)
            except ChannelBroken:
                self._hang_up()
                raise

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
