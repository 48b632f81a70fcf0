"""What the vantage points asked during a test, and who answered."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

from servicelab.report.safe_text import one_line
from servicelab.vantage import DnsReply, ErrorClass, Replies, Reply, ResolveReply
from servicelab.vantage.request import bracketed

FIRST_KEPT = 500
LAST_KEPT = 2500
"""Requests of one test that the table shows, the first and the last; all are counted."""
MOST_FLOWS = 200
"""Kinds of (asked from, asked, answered by) that are told apart."""
_MOST_DNS = 300
_MOST_RECORDS = 60
_WHO = 80
#: What `start_outside` calls its containers.
_OUTSIDE = re.compile(r".+-outside-[0-9a-f]{6}")
_TOLD = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and what came back.

    Attributes:
        during: "setup" or "test".
        at: when it was asked, in seconds since the epoch, by the clock of the vantage point.
        took_ms: until the last answer or the error, in milliseconds.
        connect_ms: until the connection stood; None where there is none.
        asked_from: the vantage point.
        asked: the target, in the request's own words.
        answered_by: the Pod that answered; "" where none said so.
        client: the client address that the Pod saw; "" where it did not say.
        outcome: HTTP status, DNS answer or error.
        local: our end of the connection; "" if it never stood.
    """

    during: str
    at: float
    took_ms: float
    connect_ms: float | None
    asked_from: str
    asked: str
    answered_by: str
    client: str
    outcome: str
    local: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Equal requests with equal answers: where packets went.

    Attributes:
        kind: "http", "tcp", "udp", "dns" or "resolve".
        asked_from: the vantage point.
        to: an address with its port, or the name that was asked for.
        answered_by: the Pod, else the outcome in a few words.
        by_pod: was it a Pod that said its name?
        ok: was there an answer?
    """

    kind: str
    asked_from: str
    to: str
    answered_by: str
    by_pod: bool
    ok: bool


@dataclass
class Journal:
    """Hears the replies of one test; give its `hear` to `heard_by`.

    Attributes:
        during: what the test is at: "setup" or "test".
        flows: how often each was met, in the order in which they were first met.
        ended: the test has; what is asked now is not its own.
        not_told: requests whose flow was one too many.
        dns: name servers' answers, as dig writes them.
    """

    during: str = "setup"
    flows: dict[Flow, int] = field(default_factory=dict)
    ended: bool = False
    not_told: int = 0
    dns: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_DNS))
    _first: list[Asked] = field(default_factory=list)
    _last: deque[Asked] = field(default_factory=lambda: deque(maxlen=LAST_KEPT))
    _heard: int = 0
    _paused: bool = False
    _lock: Lock = field(default_factory=Lock)

    def hear(self, replies: Replies[Reply]) -> None:
        """Take down the replies to one call."""
        if self._paused or self.ended:
            return
        with self._lock:
            for reply in replies:
                self._take_down(reply, one_line(replies.asked_from, _WHO))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take nothing down within: the session's own asking is not the test's."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    @property
    def requests(self) -> list[Asked]:
        """The requests that were kept, in order."""
        return [*self._first, *self._last]

    @property
    def left_out(self) -> int:
        """How many requests came between the first and the last that were kept."""
        return self._heard - len(self._first) - len(self._last)

    def traffic(self, names: Mapping[str, str], namespace: str = "") -> list[dict[str, Any]]:
        """The flows, for JSON.

        Args:
            names: what an address belongs to, such as "Service web", by address.
            namespace: the test's own, which goes without saying.
        """
        return [
            {
                **asdict(flow),
                "asked_from": _place(flow.asked_from, namespace),
                "to_name": names.get(flow.to.rpartition(":")[0].strip("[]"), ""),
                "times": times,
            }
            for flow, times in self.flows.items()
        ]

    def table(self) -> str:
        """One line for each request that was kept."""
        if not self._heard:
            return "nothing was asked\n"
        # A stream is heard of when it has ended, after what was asked meanwhile.
        requests = sorted(self.requests, key=lambda each: each.at)
        start = requests[0].at
        head = ("during", "at ms", "connect", "took ms", "asked from", "asked", "answered by",
                "client seen", "own end", "outcome")  # fmt: skip
        rows = [head, *(_row(each, start) for each in requests)]
        widths = [min(max(len(row[column]) for row in rows), 70) for column in range(len(head) - 1)]
        lines = [
            "  ".join([*map(str.ljust, row[:-1], widths), row[-1]]).rstrip()  # columns, then a tail
            for row in rows
        ]
        if self.left_out:
            lines.append(f"… the first {FIRST_KEPT} and last {LAST_KEPT} of {self._heard} requests")
        return "\n".join(lines) + "\n"

    def to_json_lines(self, most: int) -> str:
        """What was kept, for machines: an object on each line, the last requests if not all fit.

        Args:
            most: characters.
        """
        lines: deque[str] = deque()
        for each in reversed(self.requests):
            line = json.dumps(asdict(each), ensure_ascii=False) + "\n"
            most -= len(line)
            if most < 0:
                break
            lines.appendleft(line)
        return "".join(lines)

    def _take_down(self, reply: Reply, asked_from: str) -> None:
        self._heard += 1
        asked = _asked(reply, asked_from, self.during)
        if len(self._first) < FIRST_KEPT:
            self._first.append(asked)
        else:
            self._last.append(asked)
        if isinstance(reply, DnsReply | ResolveReply):
            self.dns.append(_as_dig_does(reply, asked_from))
        if flow := _flow(reply, asked_from):
            if flow in self.flows or len(self.flows) < MOST_FLOWS:
                self.flows[flow] = self.flows.get(flow, 0) + 1
            else:
                self.not_told += 1


def _place(asked_from: str, namespace: str) -> str:
    """A vantage point as people call it."""
    if _OUTSIDE.fullmatch(asked_from):
        return "outside"
    return asked_from.replace(f"Pod {namespace}/", "Pod ")


def _asked(reply: Reply, asked_from: str, during: str) -> Asked:
    connect = reply.connect_seconds
    return Asked(
        during=during,
        at=reply.started,
        took_ms=round(reply.seconds * 1000, 1),
        connect_ms=None if connect is None else round(connect * 1000, 1),
        asked_from=asked_from,
        asked=one_line(reply.request.target, _TOLD),
        answered_by=one_line(reply.pod or "", _WHO),
        client=one_line(reply.client_ip or "", _WHO),
        outcome=one_line(reply.outcome, _TOLD),
        local=str(reply.local or ""),
    )


def _flow(reply: Reply, asked_from: str) -> Flow | None:
    request = reply.request
    if request.kind in ("dns", "resolve"):
        to = one_line(request.target, _WHO)
    elif request.kind in ("http", "tcp", "udp"):
        address, port = getattr(request, "address", ""), getattr(request, "port", 0)
        to = one_line(f"{bracketed(address)}:{port}", _WHO)
    else:
        return None  # a look at the place itself
    pod = one_line(reply.pod or "", _WHO)
    return Flow(request.kind, asked_from, to, pod or _in_short(reply), bool(pod), reply.ok)


#: Errors whose name alone says too little.
_ERRORS = {ErrorClass.NAME: "does not resolve", ErrorClass.PROTOCOL: "another protocol"}


def _in_short(reply: Reply) -> str:
    if reply.error:
        return _ERRORS.get(reply.error, str(reply.error))
    if reply.status is not None:
        return f"HTTP {reply.status}"
    if isinstance(reply, DnsReply):
        # Servers turn the order of their records: sorted, equal answers are equal.
        return one_line(" ".join([reply.rcode, *sorted(each.data for each in reply.answer)]), _WHO)
    if isinstance(reply, ResolveReply):
        return one_line(" ".join(sorted(reply.addresses)), _WHO)
    return "answered"


def _row(asked: Asked, start: float) -> tuple[str, ...]:
    connect = "-" if asked.connect_ms is None else f"{asked.connect_ms:.1f}"
    return (
        asked.during,
        f"{(asked.at - start) * 1000:.0f}",
        connect,
        f"{asked.took_ms:.1f}",
        asked.asked_from,
        asked.asked,
        asked.answered_by or "-",
        asked.client or "-",
        asked.local or "-",
        asked.outcome,
    )


def _as_dig_does(reply: DnsReply | ResolveReply, asked_from: str) -> str:
    head = f";; {one_line(reply.request.target, _TOLD)}, asked from {asked_from}"
    if isinstance(reply, ResolveReply):
        words = one_line(reply.outcome, _TOLD)
        return f"{head} (its own resolver)\n{words}\n;; took {reply.seconds * 1000:.1f} ms\n"
    if reply.error:
        return f"{head}\n;; {one_line(reply.outcome, _TOLD)}\n"
    lines = [head, f";; {reply.rcode}, flags: {' '.join(sorted(reply.flags)).lower()}"]
    for section in ("answer", "authority", "additional"):
        records = getattr(reply, section)
        if records:
            lines.append(f";; {section}")
        lines += [one_line(str(record), _TOLD) for record in records[:_MOST_RECORDS]]
        if len(records) > _MOST_RECORDS:
            lines.append(f";; … {len(records) - _MOST_RECORDS} more records")
    server = f" from {reply.peer}" if reply.peer else ""
    lines.append(f";; {reply.size} bytes{server}, took {reply.seconds * 1000:.1f} ms")
    return "\n".join(lines) + "\n"
