"""Waiting: `eventually` for what should come true, `consistently` for what should stay so.

The one place in servicelab that sleeps, always behind a `Clock`, so that waits are tested in no
time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from servicelab.verdict.deadlines import Deadline
from servicelab.verdict.message import (
    Broken,
    Explanation,
    NotProved,
    Observation,
    Waited,
    in_words,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")


class Clock(Protocol):
    """Time, as far as a wait needs it."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""
        ...


class _SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


SYSTEM_CLOCK: Clock = _SystemClock()
#: A pause is at most so many times as long as was asked for.
_LONGER = 3


class Missing:
    """A "no" that says what is missing; always false, so `ready or Missing("…")` reads well."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return self.what


def eventually(
    ask: Callable[[], T],
    until: Callable[[T], bool | Missing],
    *,
    deadline: Deadline,
    expecting: str,
    asked_from: str = "",
    every: float = 0.1,
    in_a_row: int = 1,
    give_up: Callable[[T], str | None] | None = None,
    explain: Callable[[T | None], Explanation | None] | None = None,
    tell: Callable[[T], str] = in_words,
    clock: Clock = SYSTEM_CLOCK,
    retry_on: tuple[type[Exception], ...] = (),
) -> T:
    """Ask until the answer satisfies, and return that answer.

    The first try is made at once, the last one at the deadline.

    Args:
        ask: looks at the cluster, and returns what it saw.
        until: says whether the answer satisfies: True, False, or `Missing("what is missing")`,
            which then stands in the message beside what was seen.
        deadline: how long to go on, from `deadlines.current()`.
        expecting: what should come true: "Service a/web should answer 200", or "every Pod to …".
        asked_from: the vantage point, for the message.
        every: pause between two tries, in seconds; up to three times as long where a try takes
            longer than that.
        in_a_row: how many satisfying answers must follow one another.
        give_up: says why an answer means that it can't come true any more, or None to go on.
        explain: looks for the cause when it did not come true; gets the last answer, or None if
            the last try raised.
        tell: an answer in words, for the message.
        clock: where time comes from.
        retry_on: exceptions of `ask` that count as an unsatisfying answer; others pass through.

    Raises:
        NotProved: the deadline passed, or `give_up` gave a reason.
        TypeError: `until` returned something else than a bool or `Missing`.
    """
    __tracebackhide__ = True
    search = _Search(until, in_a_row, give_up, tell, retry_on, clock, clock.monotonic())
    _repeat(ask, search.goes_on, search.start, deadline.seconds, every, clock)
    if search.satisfied:
        return search.answers[-1]
    last = None if search.raised else search.answers[-1]
    waited = Waited(
        expecting=expecting,
        asked_from=asked_from,
        seconds=clock.monotonic() - search.start,
        deadline=str(deadline),
        best_run=search.best_run,
        in_a_row=in_a_row,
        seen=search.seen,
        gave_up=search.gave_up,
        explanation=explain(last) if explain else None,
    )
    raise NotProved(str(waited))


def consistently(
    ask: Callable[[], T],
    holds: Callable[[T], bool | Missing],
    *,
    for_: Deadline,
    expecting: str,
    asked_from: str = "",
    every: float = 0.1,
    explain: Callable[[T], Explanation | None] | None = None,
    tell: Callable[[T], str] = in_words,
    clock: Clock = SYSTEM_CLOCK,
) -> T:
    """Ask for a while, and return the last answer if every one of them holds.

    The first try is made at once, the last one when the time is up. An exception of `ask` passes
    through.

    Args:
        for_: how long it must stay so, from `deadlines.current()`.

    The other arguments are those of `eventually`.

    Raises:
        NotProved: an answer did not hold.
        TypeError: `holds` returned something else than a bool or `Missing`.
    """
    __tracebackhide__ = True
    start = clock.monotonic()
    watch = _Search(holds, 0, None, tell, (), clock, start)
    _repeat(ask, watch.still_holds, start, for_.seconds, every, clock)
    answer = watch.answers[-1]
    if watch.run == len(watch.seen):
        return answer
    broken = Broken(
        expecting=expecting,
        asked_from=asked_from,
        held=watch.seen[-1].at,
        needed=for_.seconds,
        deadline=str(for_),
        seen=watch.seen,
        explanation=explain(answer) if explain else None,
    )
    raise NotProved(str(broken))


def wait_out(seconds: float, reason: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Let a time pass on purpose, such as a session affinity's.

    Args:
        seconds: how long, in seconds.
        reason: why nothing can be asked meanwhile; must be given.

    Raises:
        ValueError: the reason is empty.
    """
    if not reason:
        raise ValueError("waiting without a reason: say what the time is for")
    clock.sleep(seconds)


@dataclass
class _Search(Generic[T]):
    """What has been seen so far, and whether to go on."""

    satisfies: Callable[[T], bool | Missing]
    in_a_row: int
    give_up: Callable[[T], str | None] | None
    tell: Callable[[T], str]
    retry_on: tuple[type[Exception], ...]
    clock: Clock
    start: float
    answers: list[T] = field(default_factory=list)
    seen: list[Observation] = field(default_factory=list)
    run: int = 0
    best_run: int = 0
    satisfied: bool = False
    raised: bool = False
    gave_up: str = ""

    def goes_on(self, state: RetryCallState) -> bool:
        """Take in one try: is another one needed?"""
        self._take_in(state)
        self.satisfied = self.run >= self.in_a_row
        if self.satisfied:
            return False
        if self.give_up and not self.raised:
            self.gave_up = self.give_up(self.answers[-1]) or ""
        return not self.gave_up

    def still_holds(self, state: RetryCallState) -> bool:
        """Take in one try: did it hold?"""
        self._take_in(state)
        return self.run == len(self.seen)

    def _take_in(self, state: RetryCallState) -> None:
        outcome = state.outcome
        assert outcome is not None
        error = outcome.exception()
        self.raised = error is not None
        if error is not None:
            if not isinstance(error, self.retry_on):
                raise error
            verdict: bool | Missing = False
            told = f"{type(error).__name__}: {error}"
        else:
            answer = outcome.result()
            # Only the last answer is ever used again.
            self.answers[:] = [answer]
            verdict = _checked(self.satisfies(answer))
            told = self.tell(answer)
            if isinstance(verdict, Missing):
                told = f"{told}: {verdict}" if told else str(verdict)
        self.run = self.run + 1 if verdict else 0
        self.best_run = max(self.best_run, self.run)
        self.seen.append(Observation(told, self.clock.monotonic() - self.start))


def _repeat(
    ask: Callable[[], T],
    goes_on: Callable[[RetryCallState], bool],
    start: float,
    seconds: float,
    every: float,
    clock: Clock,
) -> None:
    # Imported here because pytest loads this module in every run, also where nothing waits.
    from tenacity import Retrying

    asked = start

    def timed() -> T:
        nonlocal asked
        asked = clock.monotonic()
        return ask()

    def pause() -> float:
        now = clock.monotonic()
        # Where asking takes long, what is waited for needs the processor, too.
        share = min(max(every, now - asked), _LONGER * every)
        return max(0.0, min(share, start + seconds - now))

    Retrying(
        retry=goes_on,
        stop=lambda state: clock.monotonic() >= start + seconds,
        wait=lambda state: pause(),
        sleep=clock.sleep,
        retry_error_callback=lambda state: None,
    )(timed)


def _checked(verdict: bool | Missing) -> bool | Missing:
    # A forgotten `Missing` around a text, or a list taken for a yes, would prove anything.
    if not isinstance(verdict, bool | Missing):
        raise TypeError(
            f"a condition must return a bool or Missing(…), not {type(verdict).__name__}"
        )
    return verdict
