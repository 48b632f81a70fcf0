"""Requests and replies of every kind, read back from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servicelab.errors import InfrastructureError, UsageError
from servicelab.vantage.arp import ArpReply, ArpRequest, ArpWatchReply, ArpWatchRequest
from servicelab.vantage.dns import DnsReply, DnsRequest, ResolveReply, ResolveRequest
from servicelab.vantage.http import HttpReply, HttpRequest
from servicelab.vantage.icmp import PingReply, PingRequest
from servicelab.vantage.place import (
    FileReply,
    InterfacesReply,
    InterfacesRequest,
    ReadFileRequest,
)
from servicelab.vantage.reply import Reply
from servicelab.vantage.request import Request
from servicelab.vantage.transport import TcpReply, TcpRequest, UdpReply, UdpRequest

REQUESTS: dict[str, type[Request]] = {
    each.kind: each
    for each in (
        HttpRequest,
        TcpRequest,
        UdpRequest,
        DnsRequest,
        ResolveRequest,
        PingRequest,
        ArpRequest,
        ArpWatchRequest,
        ReadFileRequest,
        InterfacesRequest,
    )
}

REPLIES: dict[str, type[Reply]] = {
    each.kind: each
    for each in (
        HttpReply,
        TcpReply,
        UdpReply,
        DnsReply,
        ResolveReply,
        PingReply,
        ArpReply,
        ArpWatchReply,
        FileReply,
        InterfacesReply,
    )
}


def request_from_json(wire: Mapping[str, Any]) -> Request:
    """Read any request back from what its `to_json` wrote.

    Raises:
        UsageError: it is of no known kind.
    """
    kind = REQUESTS.get(wire.get("kind", ""))
    if kind is None:
        raise UsageError(f"a request of kind {wire.get('kind')!r} is not known")
    return kind.from_wire(wire)


def reply_from_json(wire: Mapping[str, Any], request: Request | None = None) -> Reply:
    """One reply from what the probe or `Reply.to_json` wrote.

    Args:
        wire: the reply; without `request` it must hold its own.
        request: what was asked, if the writer left it out (the probe does, to save bytes).

    Raises:
        InfrastructureError: it lacks what a reply has.
    """
    try:
        asked = request if request is not None else request_from_json(wire["request"])
        return REPLIES[asked.kind].from_wire(wire, asked)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InfrastructureError(
            f"a reply of the probe can't be read: {type(error).__name__} {error}",
            remedy="the probe image may be of another version; rebuild it",
        ) from error
