"""The replies to one call, in the order of its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

from servicelab.vantage.reply import Reply
from servicelab.vantage.wire import reply_from_json

AnyReply = TypeVar("AnyReply", bound=Reply, covariant=True)


class Counts(Counter[str]):
    """How often each was met; its text is for messages: `web-1: 12, refused: 3`."""

    def __str__(self) -> str:
        return ", ".join(f"{what}: {times}" for what, times in self.most_common()) or "none"


class Replies(Sequence[AnyReply], Generic[AnyReply]):
    """Replies, with the questions that tests ask of many at once.

    Args:
        replies: in the order of the requests.
        asked_from: name of the vantage point.
    """

    __slots__ = ("_replies", "asked_from")

    def __init__(self, replies: Iterable[AnyReply], asked_from: str = "") -> None:
        self._replies = tuple(replies)
        self.asked_from = asked_from

    @overload
    def __getitem__(self, index: int) -> AnyReply: ...
    @overload
    def __getitem__(self, index: slice) -> Replies[AnyReply]: ...
    def __getitem__(self, index: int | slice) -> AnyReply | Replies[AnyReply]:
        if isinstance(index, slice):
            return Replies(self._replies[index], self.asked_from)
        return self._replies[index]

    def __len__(self) -> int:
        return len(self._replies)

    def __str__(self) -> str:
        return str(self.summary())

    def __repr__(self) -> str:
        return f"<Replies asked from {self.asked_from or '?'}: {self}>"

    @property
    def ok(self) -> bool:
        """Whether every request was answered (and there was at least one)."""
        return bool(self._replies) and not self.errors

    @property
    def errors(self) -> Replies[AnyReply]:
        """Those without an answer."""
        return Replies((each for each in self._replies if not each.ok), self.asked_from)

    @property
    def pods(self) -> list[str]:
        """Who answered, in order; requests that no Pod answered are left out."""
        return [each.pod for each in self._replies if each.pod is not None]

    @property
    def client_ips(self) -> list[str]:
        """The client addresses seen, in order; where none was said they are left out."""
        return [each.client_ip for each in self._replies if each.client_ip is not None]

    def counts(self) -> Counter[str]:
        """How often each Pod answered."""
        return Counter(self.pods)

    def error_counts(self) -> Counts:
        """How often each error class was met."""
        return Counts(str(each.error) for each in self.errors)

    def summary(self) -> Counts:
        """How often each Pod, else each outcome, was met: `web-1` 12 times, `refused` 3."""
        return Counts(each.pod or str(each.error or each.outcome) for each in self._replies)

    def table(self) -> str:
        """One line for each reply, for evidence: when (ms after the first), what, who, how long."""
        if not self._replies:
            return f"nothing was asked from {self.asked_from or '?'}\n"
        first = self._replies[0].started
        rows = [("at ms", "took ms", "asked", "answered by", "client seen", "outcome")]
        rows += [
            (
                f"{(each.started - first) * 1000:.1f}",
                f"{each.seconds * 1000:.1f}",
                each.request.target,
                each.pod or "-",
                each.client_ip or "-",
                each.outcome,
            )
            for each in self._replies
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [f"asked from {self.asked_from or '?'}"]
        for row in rows:
            numbers = [row[column].rjust(widths[column]) for column in (0, 1)]
            texts = [row[column].ljust(widths[column]) for column in (2, 3, 4)]
            lines.append("  ".join([*numbers, *texts, row[5]]).rstrip())
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """All of it, for evidence; `Replies.from_json` reads it back."""
        return {
            "asked_from": self.asked_from,
            "replies": [each.to_json() for each in self._replies],
        }

    @staticmethod
    def from_json(wire: Mapping[str, Any]) -> Replies[Reply]:
        """Read back what `to_json` wrote."""
        return Replies((reply_from_json(each) for each in wire["replies"]), wire["asked_from"])
