"""The claim matrix: claim by proxy mode, and below it what the cells leave out.

Plain text in pieces with a style each, so that it can be written with colours or without.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from servicelab.report.results import ClaimResult, RunResults
from servicelab.verdict.outcome import Verdict

#: Marks a verdict that differs from the known one.
DIFFERS = "≠"
NOT_TESTED = "-"

_ID_WIDTH = 8
_CELL_WIDTH = 15
_FEWEST_WORDS = 24
#: More claims than this are counted instead of listed.
_LISTED = 6

_CELL = {verdict: str(verdict) for verdict in Verdict} | {Verdict.NOT_PROVED: "NOT PROVED"}
_STYLE = {
    Verdict.HOLDS: "green",
    Verdict.HOLDS_BUT: "cyan",
    Verdict.CHANGED: "purple",
    Verdict.FALSE: "purple",
    Verdict.NOT_PROVED: "red",
    Verdict.SKIPPED: "yellow",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Text in one style.

    Attributes:
        text: without line breaks.
        style: a colour that pytest's terminal writer knows, "bold", or "" for none.
    """

    text: str
    style: str = ""


Line = list[Piece]


def render(results: RunResults, *, width: int = 80) -> Iterator[Line]:
    """The matrix and its notes, line by line; none is longer than the width.

    Args:
        results: of the run.
        width: of the terminal, in characters; less than 60 is taken as 60.
    """
    width = max(width, 60)
    yield from _table(results, width)
    sections = [(title, style, list(_notes(results, note, width))) for title, style, note in _NOTES]
    without = [_wrapped(f"{claim.id}: {claim.says}", width) for claim in results.without_test]
    sections.insert(0, ("no test", "yellow", [line for lines in without for line in lines]))
    differing = [_wrapped(sentence, width) for sentence in _differences(results)]
    title = f"{DIFFERS} measured and known differ"
    sections.append((title, "red", [line for lines in differing for line in lines]))
    for title, style, lines in sections:
        if lines:
            yield []
            yield [Piece(title, style)]
            yield from lines
    yield from _figures(results, width)
    yield []
    for text in textwrap.wrap(_total(results), width, subsequent_indent="  "):
        yield [Piece(text, "bold")]


def plain(results: RunResults, *, width: int = 80) -> str:
    """The same as text without styles."""
    lines = ("".join(piece.text for piece in line) for line in render(results, width=width))
    return "\n".join(line.rstrip() for line in lines)


def _table(results: RunResults, width: int) -> Iterator[Line]:
    words = width - _ID_WIDTH - _CELL_WIDTH * len(results.modes)
    head = f"{'claim':<{_ID_WIDTH}}" + "".join(f"{mode:<{_CELL_WIDTH}}" for mode in results.modes)
    yield [Piece(head.rstrip(), "bold")]
    for claim, group in groupby(results.claims, key=lambda result: result.claim):
        by_mode = {result.mode: result for result in group}
        line = [Piece(f"{claim.id:<{_ID_WIDTH}}")]
        line += [_cell(by_mode.get(mode)) for mode in results.modes]
        if claim.says and words >= _FEWEST_WORDS:
            line.append(Piece(textwrap.shorten(claim.says, words, placeholder=" …")))
        yield line


def _cell(result: ClaimResult | None) -> Piece:
    if result is None:
        return Piece(f"{NOT_TESTED:<{_CELL_WIDTH}}")
    if result.differs:
        return Piece(f"{_CELL[result.verdict]} {DIFFERS}".ljust(_CELL_WIDTH), "red")
    return Piece(_CELL[result.verdict].ljust(_CELL_WIDTH), _STYLE[result.verdict])


def _of(*verdicts: Verdict) -> Callable[[ClaimResult], str]:
    def note(result: ClaimResult) -> str:
        if result.verdict not in verdicts or result.differs:
            return ""
        return result.seen or (result.known.detail if result.known else "")

    return note


def _failed(result: ClaimResult) -> str:
    if result.verdict is not Verdict.NOT_PROVED or result.differs:
        return ""
    message = result.message.partition("\n")[0] or "the test failed"
    return message.removeprefix(f"{result.claim.id} not proved ({result.mode}): ")


def _skipped(result: ClaimResult) -> str:
    return result.message or "no reason given" if result.verdict is Verdict.SKIPPED else ""


# In order of what a reader must see first, last: the end of the output is what stays on screen.
_NOTES: tuple[tuple[str, str, Callable[[ClaimResult], str]], ...] = (
    ("holds, but …", "cyan", _of(Verdict.HOLDS_BUT)),
    ("changed", "purple", _of(Verdict.CHANGED)),
    ("false", "purple", _of(Verdict.FALSE)),
    (
        "no verdict known yet: add it to claims.toml",
        "yellow",
        lambda result: f"measured `{result.verdict}`" if result.unknown else "",
    ),
    ("skipped", "yellow", _skipped),
    ("not proved", "red", _failed),
)


def _notes(results: RunResults, note: Callable[[ClaimResult], str], width: int) -> Iterator[Line]:
    grouped: dict[str, list[ClaimResult]] = {}
    for result in results.claims:
        if words := note(result):
            grouped.setdefault(" ".join(words.split()), []).append(result)
    for words, members in grouped.items():
        yield from _wrapped(f"{_whom(members, results.modes)}: {words}", width)


def _figures(results: RunResults, width: int) -> Iterator[Line]:
    """The tables of what was plotted."""
    for result in results.claims:
        for chart in result.charts:
            yield []
            title = f"{_whom([result], results.modes)}: {chart.title}, {chart.unit}"
            yield [Piece(textwrap.shorten(title, width, placeholder=" …"), "bold")]
            rows = chart.rows()
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            for row in rows:
                cells = "  ".join(map(str.rjust, row, widths))
                yield [Piece(f"  {cells}"[:width])]


def _differences(results: RunResults) -> list[str]:
    return [result.differs for result in results.claims if result.differs]


def _whom(results: Sequence[ClaimResult], modes: Sequence[str]) -> str:
    ids = list(dict.fromkeys(result.claim.id for result in results))
    whom = f"{len(ids)} claims" if len(ids) > _LISTED else ", ".join(ids)
    if len(modes) == 1:
        return whom
    return f"{whom} ({', '.join(dict.fromkeys(result.mode for result in results))})"


def _wrapped(text: str, width: int) -> list[Line]:
    lines = textwrap.wrap(
        text,
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
    return [[Piece(line)] for line in lines]


def _total(results: RunResults) -> str:
    counts = Counter(result.verdict for result in results.claims)
    parts = [f"{counts[verdict]} {_CELL[verdict]}" for verdict in Verdict if counts[verdict]]
    if count := sum(bool(result.differs) for result in results.claims):
        parts.append(f"{count} differ from what is known")
    if results.without_test:
        parts.append(f"{len(results.without_test)} without a test")
    return f"claims: {', '.join(parts) or 'none'}"
