"""A grade on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from servicelab.grading.results import CriterionResult, Grade, Outcome, State
from servicelab.report.safe_text import one_line, printable
from servicelab.report.wrapped import hanging

MARKS = {State.PASSED: "+", State.FAILED: "-", State.HELD_BACK: "."}
_LONGEST = 300


def render(grade: Grade, width: int = 0) -> str:
    """All of a grade, in lines.

    Args:
        grade: what is shown.
        width: the terminal's columns; 0 for no end.
    """
    lines = [line for head, text in _lines(grade) for line in hanging(head, text, width)]
    return "\n".join(lines) + "\n"


def headline(grade: Grade) -> str:
    """A grade in one line."""
    who = f" ({grade.student})" if grade.student else ""
    if grade.outcome is Outcome.GRADED:
        return one_line(
            f"{grade.exercise}{who}: {grade.score} of {grade.possible} points", _LONGEST
        )
    if grade.outcome is Outcome.REFUSED:
        return one_line(f"{grade.exercise}{who}: refused, 0 of {grade.possible} points", _LONGEST)
    return one_line(f"{grade.exercise}{who}: could not grade; this costs no points", _LONGEST)


def _lines(grade: Grade) -> Iterator[tuple[str, str]]:
    """Each line: what stands before it, and its text."""
    yield "", headline(grade)
    if grade.reason:
        for line in printable(grade.reason).splitlines():
            text = line.lstrip()
            yield "  " + line[: len(line) - len(text)], text
    for remark in grade.remarks:
        yield "  note: ", one_line(remark, _LONGEST)
    width = max((len(each.id) for each in grade.criteria), default=0)
    for each in grade.criteria:
        points = f"{each.earned}/{each.points}" if each.points else ""
        yield (
            f"  {MARKS[each.state]} {points:>5}  {each.id:<{width}}  ",
            one_line(each.says, _LONGEST),
        )
        for label, text in details(each):
            yield f"           {label}", text
        if each.state is State.FAILED and each.hints:
            yield "           hint      ", f"servicelab exercise hint {grade.exercise} {each.id}"
    if grade.seconds:
        where = f" on Kubernetes {grade.kubernetes}" if grade.kubernetes else ""
        yield "  ", f"in {grade.seconds:.1f} s{where}"


def details(result: CriterionResult) -> list[tuple[str, str]]:
    """Why a criterion is not met, a line for each part: what stands before it, and its text."""
    if result.state is State.HELD_BACK:
        return [("not looked at: ", one_line(result.why, _LONGEST))]
    if result.state is State.PASSED:
        return []
    rows = [("expected", result.expected), ("seen", result.actual), ("so", result.why)]
    lines = [(f"{label:<10}", one_line(text, _LONGEST)) for label, text in rows if text]
    waited = [line for line in result.waited_for.splitlines() if line.strip().startswith("waited")]
    return lines + [("", one_line(line, _LONGEST)) for line in waited]
