"""What is said when a wait ends in vain: one message, written in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from textwrap import shorten

#: Longest description of one observation, in characters.
_LONGEST = 300
#: How many kinds of earlier observations are counted out.
_KINDS = 3
_LABEL_WIDTH = 11

_heading: ContextVar[str] = ContextVar("heading", default="")


class NotProved(AssertionError):
    """What was expected did not come true in time."""

    # Reports name an exception with its module: `servicelab.NotProved` is enough.
    __module__ = "servicelab"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why it did not come true, found by looking at the cluster.

    Attributes:
        broken_at: the first broken layer, and what is wrong there.
        so: what follows from it.
        try_: a command that looks further.
    """

    broken_at: str = ""
    so: str = ""
    try_: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing seen.

    Attributes:
        told: what was seen, in words.
        at: when, in seconds since the wait began.
    """

    told: str
    at: float


@dataclass(frozen=True, slots=True)
class Waited:
    """A wait that ended in vain.

    Attributes:
        expecting: what should have come true: "Service x should …", or "every node to …".
        asked_from: the vantage point; may be empty.
        seconds: how long it was waited, in seconds.
        deadline: the name of the deadline, as the user can look it up.
        best_run: most satisfying answers in a row.
        in_a_row: satisfying answers in a row that were needed.
        seen: every observation, in order.
        gave_up: why there was no use in waiting longer; may be empty.
        explanation: what the cluster shows; may be None.
    """

    expecting: str
    asked_from: str
    seconds: float
    deadline: str
    best_run: int
    in_a_row: int
    seen: Sequence[Observation]
    gave_up: str = ""
    explanation: Explanation | None = None

    def __str__(self) -> str:
        waited = f"{self.seconds:.1f} s ({self.deadline}), {_counted(len(self.seen), 'try')}"
        if self.in_a_row > 1:
            waited += f", best run {self.best_run} of {self.in_a_row} in a row"
        return _write(
            expected(self.expecting, self.asked_from),
            [
                ("waited", waited),
                ("gave up", self.gave_up),
                ("last saw", last_saw(self.seen)),
                *_lines(self.explanation),
            ],
        )


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that should have stayed so, and did not.

    Attributes:
        expecting: what should have stayed true.
        asked_from: the vantage point; may be empty.
        held: how long it did, in seconds.
        needed: how long it should have, in seconds.
        deadline: the name of that time.
        seen: every observation, in order; the last one broke it.
        explanation: what the cluster shows; may be None.
    """

    expecting: str
    asked_from: str
    held: float
    needed: float
    deadline: str
    seen: Sequence[Observation]
    explanation: Explanation | None = None

    def __str__(self) -> str:
        held = (
            f"{self.held:.1f} of {self.needed:.1f} s ({self.deadline}), "
            f"{_counted(len(self.seen), 'try')}"
        )
        return _write(
            expected(self.expecting, self.asked_from),
            [("held for", held), ("then saw", last_saw(self.seen)), *_lines(self.explanation)],
        )


def in_words(answer: object) -> str:
    """An answer as a user reads it: that of its `str`, and for a list those of its members."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, Mapping):
        return ", ".join(f"{key}: {in_words(value)}" for key, value in answer.items())
    if isinstance(answer, Iterable) and not isinstance(answer, bytes | Iterator):
        return "; ".join(in_words(member) for member in answer) or "nothing"
    return str(answer)


def expected(expecting: str, asked_from: str) -> str:
    """The first line: what should have been, and where it was asked from."""
    words = expecting if " should " in f" {expecting} " else f"expected {expecting}"
    return f"{words}, asked from {asked_from}" if asked_from else words


def last_saw(seen: Sequence[Observation]) -> str:
    """The last observation, with counts of the earlier ones that differed from it."""
    if not seen:
        return "nothing: no try was made"
    last = seen[-1]
    told = f"{_short(last.told)} at {last.at:.1f} s"
    earlier = Counter(observation.told for observation in seen[:-1])
    if not earlier:
        return told
    if set(earlier) == {last.told}:
        return f"{told} (the same every time)"
    counts = [f"{count}x {_short(words)}" for words, count in earlier.most_common(_KINDS)]
    if rest := sum(count for _, count in earlier.most_common()[_KINDS:]):
        counts.append(f"{rest}x something else")
    return f"{told} (before: {', '.join(counts)})"


@contextmanager
def heading(words: str) -> Iterator[None]:
    """Start each message within with these words, such as "NP-01 not proved (iptables)"."""
    token = _heading.set(words)
    try:
        yield
    finally:
        _heading.reset(token)


def _write(first: str, lines: Sequence[tuple[str, str]]) -> str:
    head = f"{words}: {first}" if (words := _heading.get()) else first
    return "\n".join(
        [head, *(f"  {label:<{_LABEL_WIDTH}}{_indented(text)}" for label, text in lines if text)]
    )


def _lines(explanation: Explanation | None) -> list[tuple[str, str]]:
    if explanation is None:
        return []
    return [
        ("broken at", explanation.broken_at),
        ("so", explanation.so),
        ("try", explanation.try_),
    ]


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + " " * (_LABEL_WIDTH + 2))


def _short(words: str) -> str:
    return shorten(words, _LONGEST, placeholder=" …") or "nothing"


def _counted(count: int, noun: str) -> str:
    plural = {"try": "tries"}.get(noun, f"{noun}s")
    return f"{count} {noun if count == 1 else plural}"
