"""Lines for a terminal: what is longer than it is wide goes on below where it began."""

from __future__ import annotations

import shutil
import sys
import textwrap

_NARROWEST = 20
"""Columns that a text gets at least, however far to the right it begins."""


def terminal_width() -> int:
    """The columns of the terminal that standard output is; 0 if it is none, so has no end."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def hanging(head: str, text: str, width: int) -> list[str]:
    """A line, or as many as it takes.

    Args:
        head: what stands before the text, on the first line only.
        text: what is broken, between words if it can be.
        width: columns that there are; 0 for no end.
    """
    if not width or len(head) + len(text) <= width:
        return [f"{head}{text}"]
    room = max(_NARROWEST, width - len(head))
    first, *more = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [f"{head}{first}", *(f"{'':{len(head)}}{line}" for line in more)]
