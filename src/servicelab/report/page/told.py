"""A failure's message, taken apart as `servicelab.verdict.message` puts it together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servicelab.report.broken_layer import LEAD

# "  waited     30.0 s …": two spaces, the label in eleven letters, the text; further lines of the
# text stand below it.
_INDENT = 2
_TEXT = 13


@dataclass(frozen=True, slots=True)
class Told:
    """A message in parts.

    Attributes:
        head: what should have been, and the like: everything before the first label.
        lines: labels ("waited", "last saw", "broken at") with their texts, in order.
        rest: what follows and is of another form.
    """

    head: str
    lines: Sequence[tuple[str, str]]
    rest: str


def told(message: str) -> Told:
    """Take a message apart; one of another form is all head."""
    head: list[str] = []
    lines: list[tuple[str, str]] = []
    rest: list[str] = []
    for line in message.splitlines():
        if line.startswith(LEAD):
            lines.append((LEAD.rstrip(": "), line.removeprefix(LEAD)))
        elif rest:
            rest.append(line)
        elif label := _label(line):
            lines.append((label, line[_TEXT:].strip()))
        elif lines and line.startswith(" " * _TEXT):
            before, text = lines[-1]
            lines[-1] = (before, f"{text}\n{line.strip()}")
        else:
            (rest if lines else head).append(line)
    return Told("\n".join(head).strip(), lines, "\n".join(rest).strip())


def _label(line: str) -> str:
    label, text = line[:_TEXT].strip(), line[_TEXT:].strip()
    placed = line.startswith(" " * _INDENT) and not line[_INDENT : _INDENT + 1].isspace()
    words = label.replace(" ", "")
    return label if placed and text and words.isalpha() and line[_TEXT - 1] == " " else ""
