"""Signals on their way to guests that other threads started."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from types import FrameType
from typing import Protocol

#: What is passed on to the commands.
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class TakesSignals(Protocol):
    """A guest that runs, or whatever else wants to know of signals."""

    def signal(self, number: int) -> None:
        """Send a signal; it may be called from a signal handler."""


class Reins:
    """Signals for one guest that another thread starts: those that come too early wait for it."""

    def __init__(self) -> None:
        # Reentrant: a signal handler may interrupt another one.
        self._lock = RLock()
        self._guest: TakesSignals | None = None
        self._signals: list[int] = []
        self._stopped = False

    @property
    def signals(self) -> tuple[int, ...]:
        """What it was sent by `signal`."""
        return tuple(self._signals)

    @property
    def stopped(self) -> bool:
        """Was it told to stop by `stop`?"""
        return self._stopped

    @property
    def ended_early(self) -> int | None:
        """The signal that came before the guest was started, which need not be started then."""
        with self._lock:
            if self._guest is None and (self._signals or self._stopped):
                return [*self._signals, signal.SIGINT][0]
            return None

    def signal(self, number: int) -> None:
        """Send a signal; it may be called from a signal handler."""
        with self._lock:
            self._signals.append(number)
            if self._guest is not None:
                self._guest.signal(number)

    def stop(self) -> None:
        """Let the command end as by Ctrl-C, though nobody pressed it; once."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                if self._guest is not None:
                    self._guest.signal(signal.SIGINT)

    def lead(self, guest: TakesSignals) -> None:
        """From now on signals go to a guest whose command runs, first those that came before."""
        with self._lock:
            self._guest = guest
            for number in (*self._signals, *([signal.SIGINT] if self._stopped else [])):
                guest.signal(number)


@contextmanager
def signals_to(takers: Sequence[TakesSignals]) -> Iterator[None]:
    """Meanwhile each of them gets the signals that this process gets.

    In the main thread only: Python allows it nowhere else.

    Args:
        takers: what gets them, in this order.
    """

    come: deque[int] = deque()
    busy = False

    def pass_on(number: int, frame: FrameType | None) -> None:
        # A handler may interrupt another one: what comes meanwhile waits, so that each taker gets
        # them in the same order.
        nonlocal busy
        come.append(number)
        while come and not busy:
            busy = True
            try:
                while come:
                    first = come.popleft()
                    for taker in takers:
                        taker.signal(first)
            finally:
                busy = False

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
