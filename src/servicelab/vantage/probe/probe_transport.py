"""TCP connections and UDP datagrams."""

from __future__ import annotations

import socket

from probe_call import Call, Failure


def ask_tcp(call: Call) -> None:
    """Connect, send, read up to so many bytes, the first newline or the end."""
    request = call.request
    wanted, line = request.get("read", 0), request.get("line", False)
    data = b""
    with call.connect(request["address"], request["port"], socket.SOCK_STREAM) as sock:
        try:
            if request.get("send"):
                sock.sendall(request["send"].encode("latin-1"))
            while len(data) < wanted and not (line and b"\n" in data):
                got = sock.recv(min(65536, wanted - len(data)))
                if not got:
                    break
                data += got
        finally:
            call.reply["data"] = _first_line(data, line).decode("latin-1")
    if wanted and not data:
        raise Failure("closed", "the peer closed and sent nothing")


def _first_line(data: bytes, line: bool) -> bytes:
    return data.partition(b"\n")[0] + b"\n" if line and b"\n" in data else data


def ask_udp(call: Call) -> None:
    """One datagram there, one back; the socket is connected, so a refusal is heard."""
    request = call.request
    with call.connect(request["address"], request["port"], socket.SOCK_DGRAM) as sock:
        sock.send(request.get("payload", "").encode("latin-1"))
        call.reply["data"] = sock.recv(65536).decode("latin-1")
