"""Places to ask from: a Pod, a node, an outside host; one probe, the same answers everywhere."""

from __future__ import annotations

from servicelab.vantage.arp import (
    ArpAnswer,
    ArpPacket,
    ArpReply,
    ArpRequest,
    ArpWatchReply,
    ArpWatchRequest,
)
from servicelab.vantage.channel import Channel, ChannelBroken
from servicelab.vantage.dns import DnsRecord, DnsReply, DnsRequest, ResolveReply, ResolveRequest
from servicelab.vantage.http import HttpAnswer, HttpReply, HttpRequest
from servicelab.vantage.icmp import PingReply, PingRequest
from servicelab.vantage.nodes import NodeVantage
from servicelab.vantage.outside import OutsideVantage
from servicelab.vantage.place import (
    FileReply,
    InterfacesReply,
    InterfacesRequest,
    ReadFileRequest,
)
from servicelab.vantage.pods import PodVantage, client_pod_manifest
from servicelab.vantage.replies import Replies
from servicelab.vantage.reply import ErrorClass, Reply, SocketAddress
from servicelab.vantage.request import Request
from servicelab.vantage.stream import Stream
from servicelab.vantage.transport import TcpReply, TcpRequest, UdpReply, UdpRequest
from servicelab.vantage.vantage import Vantage

__all__ = [
    "ArpAnswer",
    "ArpPacket",
    "ArpReply",
    "ArpRequest",
    "ArpWatchReply",
    "ArpWatchRequest",
    "Channel",
    "ChannelBroken",
    "DnsRecord",
    "DnsReply",
    "DnsRequest",
    "ErrorClass",
    "FileReply",
    "HttpAnswer",
    "HttpReply",
    "HttpRequest",
    "InterfacesReply",
    "InterfacesRequest",
    "NodeVantage",
    "OutsideVantage",
    "PingReply",
    "PingRequest",
    "PodVantage",
    "ReadFileRequest",
    "Replies",
    "Reply",
    "Request",
    "ResolveReply",
    "ResolveRequest",
    "SocketAddress",
    "Stream",
    "TcpReply",
    "TcpRequest",
    "UdpReply",
    "UdpRequest",
    "Vantage",
    "client_pod_manifest",
]
