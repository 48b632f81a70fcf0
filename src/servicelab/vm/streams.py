"""What a guest prints, passed on as it comes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread

CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where what a guest's command prints goes.

    Attributes:
        out: the file descriptor that gets its stdout.
        err: the one that gets its stderr.
        reports: called with each line that it writes to its third descriptor, in a thread; None if
            it has none.
    """

    out: int
    err: int
    reports: Callable[[bytes], None] | None = None


def own_sinks() -> Sinks:
    """This process's stdout and stderr."""
    return Sinks(sys.stdout.fileno(), sys.stderr.fileno())


def pass_on(source: int, target: int, broken: Callable[[], None]) -> Thread:
    """Copy from one file descriptor to another, in a thread, until the source ends.

    Always read to the end: a guest whose output nobody takes stands still.

    Args:
        source: closed at the end.
        target: stays open.
        broken: called once if nobody reads the target any more; the rest is thrown away.
    """

    def copy() -> None:
        with open(source, "rb", buffering=0) as stream:
            whole = True
            while data := stream.read(CHUNK):
                try:
                    while whole and data:
                        data = data[os.write(target, data) :]
                except OSError:
                    whole = False
                    broken()

    return _started(copy)


def take_lines(source: int, take: Callable[[bytes], None] | None) -> Thread:
    """Call a function with each line from a file descriptor, in a thread, until it ends.

    Args:
        source: closed at the end.
        take: gets each line without its end.
    """

    def read() -> None:
        with open(source, "rb") as stream:
            for line in stream:
                if take is not None:
                    take(line.rstrip(b"\n"))

    return _started(read)


@contextmanager
def lines_to(take: Callable[[bytes], None]) -> Iterator[int]:
    """A file descriptor: each line that is written there goes to a function, in a thread.

    Args:
        take: gets each line without its end; all of them when this ends.
    """
    source, into = os.pipe()
    taking = take_lines(source, take)
    try:
        yield into
    finally:
        os.close(into)
        taking.join()


def _started(work: Callable[[], None]) -> Thread:
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread
