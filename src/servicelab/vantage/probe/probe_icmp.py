"""ICMP echo, as `ping` sends it, over a datagram socket or, where that is not allowed, a raw one.

The kernel keeps a queue of the ICMP errors that a socket's packets met (ip(7), IP_RECVERR), so a
host that says "unreachable" is told apart from one that says nothing.
"""

from __future__ import annotations

import os
import socket
import struct

from probe_call import Call, Failure, error_class

ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
"""ICMP types of an echo request and of its reply (RFC 792, RFC 4443)."""

RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""Level and option from linux/in.h and linux/in6.h; Python names them only from 3.14 on."""

EXTENDED_ERROR = struct.Struct("=IBBBxII")
"""struct sock_extended_err of linux/errqueue.h: errno, origin, type, code, info, data."""

ORIGINS_ICMP = (2, 3)
SEQUENCE = 1


def ask_ping(call: Call) -> None:
    """One echo request and what came of it; a name is looked up by the place's own resolver."""
    family, target = next(call.targets(call.request["address"], 0, socket.SOCK_DGRAM))
    call.reply["address"] = target[0]
    token = os.urandom(16)
    number = int.from_bytes(token[:2], "big")
    sock, raw = _socket(family)
    with sock:
        sock.setsockopt(*RECVERR[family], 1)
        if call.request.get("source"):
            sock.bind((call.request["source"], 0))
        head = struct.pack("!BBHHH", ECHO[family][0], 0, 0, number, SEQUENCE)
        if family == socket.AF_INET:
            head = struct.pack(
                "!BBHHH", ECHO[family][0], 0, _checksum(head + token), number, SEQUENCE
            )
        call.hurry(sock)
        sock.sendto(head + token, target)
        while True:
            call.hurry(sock)
            try:
                data, sender = sock.recvfrom(65536)
            except TimeoutError:
                raise
            except OSError as error:
                _report(call, sock, family, number if raw else None, error)
                continue
            if raw and family == socket.AF_INET:
                data = data[(data[0] & 0x0F) * 4 :]
            if data[:1] == bytes([ECHO[family][1]]) and data[8:] == token:
                call.reply["answered_by"] = sender[0]
                return


def _socket(family: socket.AddressFamily) -> tuple[socket.socket, bool]:
    """A socket for ICMP, and whether it is a raw one."""
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol), False
    except PermissionError:  # outside net.ipv4.ping_group_range
        try:
            return socket.socket(family, socket.SOCK_RAW, protocol), True
        except PermissionError as error:
            raise Failure(
                "other", "no ICMP socket: outside net.ipv4.ping_group_range, without CAP_NET_RAW"
            ) from error


def _report(
    call: Call, sock: socket.socket, family: int, number: int | None, error: OSError
) -> None:
    """Raise what an ICMP error in the queue says of our packet; pass over one of another's."""
    try:
        quoted, ancillary, _, _ = sock.recvmsg(2048, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except BlockingIOError:
        if number is not None:
            return  # the mark that another's error, read already, has left
        raise error from None
    # A raw socket hears of everybody's packets; a datagram socket's number is the kernel's.
    if number is not None and quoted[4:8] != struct.pack("!HH", number, SEQUENCE):
        return
    for level, kind, data in ancillary:
        if (level, kind) != RECVERR[socket.AddressFamily(family)]:
            continue
        code, origin, icmp_type, icmp_code, _, _ = EXTENDED_ERROR.unpack_from(data)
        error = OSError(code, os.strerror(code))
        fields = {}
        if origin in ORIGINS_ICMP:
            offset = EXTENDED_ERROR.size + (4 if family == socket.AF_INET else 8)
            size = 4 if family == socket.AF_INET else 16
            fields = {
                "icmp": [icmp_type, icmp_code],
                "reported_by": socket.inet_ntop(family, data[offset : offset + size]),
            }
        raise Failure(error_class(error), os.strerror(code), **fields)
    raise error


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
