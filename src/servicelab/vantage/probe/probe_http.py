"""HTTP/1.1 by the standard library's client.

http.client rather than httpx: each exec starts the probe anew, and importing httpx and making its
client costs 3.6 times the processor time of importing http.client (httpx 0.28, Python 3.11); it
also hides the socket, whose addresses and connect time we report.
"""

from __future__ import annotations

import contextlib
import http.client
import socket

from probe_call import Call, Failure, Json


def ask_http(call: Call) -> None:
    """One connection, the path and then each of `also` on it."""
    request = call.request
    address, port = request["address"], request.get("port", 80)
    shown = f"[{address}]" if ":" in address else address
    host = request.get("host") or (shown if port == 80 else f"{shown}:{port}")
    most = request.get("most_bytes", 65536)
    answers = call.reply["answers"] = []
    paths = [request.get("path", "/"), *request.get("also", ())]
    sock = call.connect(address, port, socket.SOCK_STREAM)
    connection = http.client.HTTPConnection(address, port)
    connection.auto_open = 0  # a second connection could reach another backend
    connection.sock = sock
    with contextlib.closing(connection):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for turn, path in enumerate(paths):
            first = turn == 0
            try:
                _send_http(connection, request, path, host, first)
                # A server that writes header and body apart would else wait 40 ms for our
                # delayed acknowledgement of the first.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                response = connection.getresponse()
                body = response.read(most + 1)
                if len(body) <= most and response.length:  # read(n) says nothing of a short body
                    raise http.client.IncompleteRead(body, response.length)
            except http.client.NotConnected as error:
                raise Failure("closed", f"the server closed before {path}") from error
            except (http.client.RemoteDisconnected, http.client.IncompleteRead) as error:
                raise Failure("closed", f"closed while answering {path}: {error}") from error
            except http.client.HTTPException as error:
                raise Failure("protocol", f"not HTTP: {type(error).__name__} {error}") from error
            headers: dict[str, str] = {}
            for name, value in response.getheaders():
                key = name.lower()
                headers[key] = f"{headers[key]}, {value}" if key in headers else value
            answers.append(
                {
                    "path": path,
                    "status": response.status,
                    "reason": response.reason,
                    "headers": headers,
                    "body": body[:most].decode("latin-1"),
                    "truncated": len(body) > most,
                }
            )
            if len(body) > most and turn + 1 < len(paths):
                raise Failure("protocol", f"{path} gave more than {most} bytes; nothing more asked")


def _send_http(
    connection: http.client.HTTPConnection, request: Json, path: str, host: str, first: bool
) -> None:
    method = request.get("method", "GET") if first else "GET"
    body = request.get("body", "").encode("latin-1") if method == "POST" else None
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host)
    for name, value in request.get("headers", ()):
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
