"""One request under way: its time, its connection, its names, and what can go wrong with it."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
EAI_NAMES = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}

Json = dict[str, Any]


class Failure(Exception):
    """There was no answer: an error class and its detail."""

    def __init__(self, error: str, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail
        self.fields = fields


class DeadlineSocket(socket.socket):
    """A socket whose reads, also those through a file object, end at one moment in all."""

    deadline = float("inf")

    def hurry(self) -> None:
        """Allow the next operation only the time that is left."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.hurry()
        return super().recv_into(*arguments, **options)

    def recv(self, *arguments: Any) -> bytes:
        self.hurry()
        return super().recv(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self.hurry()
        super().sendall(*arguments)


class Call:
    """One request under way: what is asked, until when, and the reply as it fills."""

    def __init__(self, request: Json) -> None:
        self.request = request
        self.begun = time.monotonic()
        self.deadline = self.begun + float(request.get("timeout", 2.0))
        self.reply: Json = {"ok": True, "started": time.time()}

    def elapsed(self) -> float:
        """Seconds since the call began, to the microsecond."""
        return round(time.monotonic() - self.begun, 6)

    def connect(self, address: str, port: int, kind: socket.SocketKind) -> DeadlineSocket:
        """Connect to the first address that lets us; notes both ends and the time it took."""
        failure: OSError = OSError("no address to connect to")
        for family, target in self.targets(address, port, kind):
            sock = DeadlineSocket(family, kind)
            sock.deadline = self.deadline
            try:
                if self.request.get("source"):
                    sock.bind((self.request["source"], 0))
                sock.hurry()
                sock.connect(target)
            except OSError as error:
                sock.close()
                failure = error
                continue
            if kind == socket.SOCK_STREAM:
                self.reply["connect_seconds"] = self.elapsed()
            self.reply["local"] = list(sock.getsockname()[:2])
            self.reply["peer"] = list(target[:2])
            return sock
        raise failure

    def hurry(self, sock: socket.socket) -> None:
        """Allow a socket's next operation only the time that is left."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left)

    def targets(
        self, address: str, port: int, kind: socket.SocketKind
    ) -> Iterator[tuple[socket.AddressFamily, Any]]:
        """Every address to try, looked up as any program here would if it is a name."""
        try:
            found = socket.getaddrinfo(address, port, type=kind, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            found = self.look_up(address, port, type=kind)
        for family, _, _, _, target in found:
            yield family, target

    def look_up(self, name: str, port: int | None, **options: Any) -> list[Any]:
        """getaddrinfo, given up at the deadline; the C library knows none."""
        outcome: list[Any] = []

        def ask() -> None:
            try:
                outcome.append(socket.getaddrinfo(name, port, **options))
            except (OSError, UnicodeError) as error:
                outcome.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(max(0.0, self.deadline - time.monotonic()))
        if not outcome:
            raise Failure("timeout", f"no answer to the lookup of {name}")
        if isinstance(outcome[0], socket.gaierror):
            code = EAI_NAMES.get(outcome[0].errno or 0, str(outcome[0].errno))
            raise Failure("name", f"{name}: {outcome[0].strerror} ({code})", code=code)
        if isinstance(outcome[0], UnicodeError):
            raise Failure("name", f"{name!a} is no host name: {outcome[0]}", code="EAI_NONAME")
        if isinstance(outcome[0], OSError):
            raise outcome[0]
        return outcome[0]  # type: ignore[no-any-return]


def error_class(error: OSError) -> str:
    """What a user would call it."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)):
        return "reset"
    return "unreachable" if error.errno in UNREACHABLE else "other"
