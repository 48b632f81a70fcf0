"""The conversation of one channel: questions in, replies out, one stream beside them."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from probe_call import Call, Failure, Json, error_class

VERSION = 2
"""Of the lines that servicelab_probe.py describes."""

ASKERS = {
    "http": "probe_http.ask_http",
    "tcp": "probe_transport.ask_tcp",
    "udp": "probe_transport.ask_udp",
    "dns": "probe_dns.ask_dns",
    "ping": "probe_icmp.ask_ping",
    "arp": "probe_arp.ask_arp",
    "arp_watch": "probe_arp.ask_arp_watch",
    "resolve": "probe_place.ask_resolve",
    "read_file": "probe_place.ask_read_file",
    "interfaces": "probe_place.ask_interfaces",
}
"""Where each kind of request is asked. A module is imported with the first request of its kind:
a channel opens quickly, and no request pays for its import, which is over before it begins."""

MALFORMED = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a request of the wrong shape, or one that this place can't ask, ends in; never the probe."""


def asker_of(kind: str) -> Callable[[Call], None]:
    """What asks a request of this kind; LookupError if nothing does."""
    module, _, function = ASKERS[kind].partition(".")
    if kind == "dns" and "dns" not in sys.modules and sys.flags.no_site:
        import site  # run with -S, so that only DNS pays for finding installed packages

        site.main()
    asker: Callable[[Call], None] = getattr(importlib.import_module(module), function)
    return asker


def answer(request: Json) -> Json:
    """Ask one request; whatever happens is in the reply."""
    try:
        asker = asker_of(request["kind"])
        call = Call(request)
    except MALFORMED as error:
        detail = f"can't be asked: {type(error).__name__} {error}"
        return {"ok": False, "error": "other", "detail": detail, "started": time.time()}
    failure: Failure | None = None
    try:
        asker(call)
    except Failure as error:
        failure = error
    except OSError as error:
        failure = Failure(error_class(error), error.strerror or str(error))
    except MALFORMED as error:
        failure = Failure("other", f"{type(error).__name__}: {error}")
    if failure is not None:
        call.reply |= {"ok": False, "error": failure.error, "detail": failure.detail}
        call.reply |= failure.fields
    call.reply["seconds"] = call.elapsed()
    return call.reply


def answer_all(requests: list[Json], workers: int) -> list[Json]:
    """Ask them all, so many at a time, and keep their order."""
    if workers <= 1:
        return [answer(each) for each in requests]
    replies: list[Json] = [{}] * len(requests)
    todo = deque(enumerate(requests))

    def work() -> None:
        with contextlib.suppress(IndexError):
            while todo:
                index, request = todo.popleft()
                replies[index] = answer(request)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, 64))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


class Stream(Protocol):
    """Something that gathers replies until it is ended."""

    replies: list[Json]

    def start(self) -> None:
        """Begin; what happens from the return of this on is not missed."""

    def end(self) -> list[Json]:
        """Stop, and give all replies."""


class Repeated(threading.Thread):
    """A request asked again and again, at fixed turns; a turn that is missed is not made up."""

    def __init__(self, request: Json, every: float, most: int) -> None:
        super().__init__(daemon=True)
        self.request = request
        self.every = every
        self.most = most
        self.replies: list[Json] = []
        self.over = threading.Event()

    def run(self) -> None:
        turn = time.monotonic()
        while not self.over.is_set() and len(self.replies) < self.most:
            self.replies.append(answer(self.request))
            turn = max(turn + self.every, time.monotonic())
            self.over.wait(turn - time.monotonic())

    def end(self) -> list[Json]:
        """Stop after the request that is under way."""
        self.over.set()
        self.join()
        return self.replies


def stream_of(request: Json, every: float, most: int) -> Stream:
    """The request again and again; or, where listening is asked for, all that is heard."""
    if request["kind"] != "arp_watch":
        return Repeated(request, every, most)
    import probe_arp

    return probe_arp.Watched(request, most)


class Conversation:
    """What the operations of one channel share: the stream, if there is one."""

    def __init__(self) -> None:
        self.stream: Stream | None = None

    def do(self, question: Json) -> Json:
        """Carry out one operation; raises Failure if it makes no sense."""
        op = question.get("op")
        if op == "ask":
            return {"replies": answer_all(question["requests"], int(question.get("workers", 1)))}
        if op == "ping":
            return {"version": VERSION, "time": time.time()}
        if op == "stream":
            if self.stream is not None:
                raise Failure("other", "a stream is running already")
            stream = stream_of(question["request"], float(question["every"]), int(question["most"]))
            stream.start()
            self.stream = stream
            return {}
        if op in ("peek", "stop"):
            if self.stream is None:
                raise Failure("other", "no stream is running")
            if op == "peek":
                return {"replies": self.stream.replies[-int(question.get("last", 0)) :]}
            ended, self.stream = self.stream, None
            return {"replies": ended.end()}
        raise Failure("other", f"there is no operation {op!a}")


def reply_to(line: bytes, conversation: Conversation) -> Json | None:
    """The answer to one line; None for `bye`."""
    number: Any = None
    try:
        question = json.loads(line)
        number = question["id"] if question.get("op") != "bye" else None
        if question.get("op") == "bye":
            return None
        return {"id": number, "ok": True, **conversation.do(question)}
    except Failure as error:
        detail = error.detail
    except OSError as error:
        detail = error.strerror or str(error)
    except (*MALFORMED, RecursionError) as error:
        detail = f"not a question: {type(error).__name__} {error}"
    return {"id": number, "ok": False, "error": "other", "detail": detail}


def channel() -> int:
    """Answer lines until the input ends."""
    conversation = Conversation()
    output = sys.stdout.buffer
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            if not line.strip():
                continue
            said = reply_to(line, conversation)
            if said is None:
                break
            output.write(json.dumps(said, separators=(",", ":")).encode("ascii") + b"\n")
            output.flush()
    return 0
