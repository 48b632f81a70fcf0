"""One line on stderr for each step, with its time and what comes next."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOBase
from typing import TextIO


def duration(seconds: float) -> str:
    """A time as a person says it: "0.4 s", "59.9 s", "6 min 40 s", "1 h 02 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Step:
    """A step under way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.remark = ""

    def note(self, remark: str) -> None:
        """Say at the step's end what it came to, such as "cached"."""
        self.remark = remark


class Progress:
    """Reports steps as they start and end.

    Args:
        stream: where to write; stderr by default.
        quiet: write nothing but failed steps.
        clock: gives seconds.
    """

    def __init__(
        self,
        *,
        stream: TextIO | TextIOBase | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._quiet = quiet
        self._clock = clock
        self._began: float | None = None
        self._planned: list[str] = []
        self._done = 0
        self._total: int | None = None
        self._depth = 0
        self._open_line = False

    def plan(self, names: Iterable[str]) -> None:
        """Announce the steps to come, in order; lines can then say how many and what is next."""
        self._planned += names
        self._total = self._done + len(self._planned)

    @contextmanager
    def step(self, name: str, *, total: int | None = None) -> Iterator[Step]:
        """Report one step; a step inside another is indented and not counted.

        Args:
            name: what is done.
            total: how many steps there are in all, if known and not planned.
        """
        began = self._clock()
        if self._began is None:
            self._began = began
        if total is not None:
            self._total = total
        nested = self._depth > 0
        if not nested and name in self._planned:
            del self._planned[: self._planned.index(name) + 1]
        number = self._done + 1
        if not nested:
            self._done = number
            self._total = max(self._total, number) if self._total is not None else None
        head = self._head(name, number, nested=nested)
        self._depth += 1
        self._start(head)
        step = Step(name)
        try:
            yield step
        except BaseException as error:
            word = "interrupted" if isinstance(error, KeyboardInterrupt) else "FAILED"
            self._end(f"{head}  {word} after {duration(self._clock() - began)}", failed=True)
            raise
        else:
            remark = f", {step.remark}" if step.remark else ""
            outlook = "" if nested else self._outlook()
            self._end(f"{head}  done in {duration(self._clock() - began)}{remark}{outlook}")
        finally:
            self._depth -= 1

    def say(self, text: str) -> None:
        """Write one line that is no step."""
        if not self._quiet:
            self._break_line()
            self._write(f"{text}\n")

    def _head(self, name: str, number: int, *, nested: bool) -> str:
        if nested:
            return f"{'  ' * self._depth}      {name}"
        if self._total is None:
            return f"[{number:2d}] {name}"
        width = max(2, len(str(self._total)))
        return f"[{number:{width}d}/{self._total}] {name}"

    def _outlook(self) -> str:
        so_far = duration(self._clock() - (self._began if self._began is not None else 0.0))
        following = f"next: {self._planned[0]}; " if self._planned else ""
        return f" ({following}{so_far} so far)"

    def _start(self, head: str) -> None:
        if self._quiet:
            return
        self._break_line()
        if self._is_terminal():
            self._write(f"{head} … ")
            self._open_line = True
        else:
            self._write(f"{head} …\n")

    def _end(self, line: str, *, failed: bool = False) -> None:
        if self._quiet and not failed:
            return
        rewrite = "\r\033[K" if self._open_line else ""
        self._open_line = False
        self._write(f"{rewrite}{line}\n")

    def _break_line(self) -> None:
        if self._open_line:
            self._open_line = False
            self._write("\n")

    def _is_terminal(self) -> bool:
        return self._output().isatty()

    def _output(self) -> TextIO | TextIOBase:
        # Looked up late: pytest and others replace sys.stderr.
        return self._stream if self._stream is not None else sys.stderr

    def _write(self, text: str) -> None:
        output = self._output()
        output.write(text)
        output.flush()
