"""A grade as a page of its own, without anything from elsewhere."""

from __future__ import annotations

from pathlib import Path

from servicelab.grading.report.text import headline
from servicelab.grading.results import Grade, Outcome, State

#: The classes of the style sheet, and the words, for what became of a criterion.
_STYLES = {State.PASSED: "holds", State.FAILED: "failed", State.HELD_BACK: "skipped"}
_WORDS = {State.PASSED: "met", State.FAILED: "not met", State.HELD_BACK: "not looked at"}
_BECAUSE = {
    Outcome.REFUSED: "Refused, because",
    Outcome.NOT_GRADED: "It could not be graded, which costs no points, because",
}


def render(grade: Grade) -> str:
    """All of a grade; what a submission says is text in it, never markup."""
    from servicelab.report import page as report_page
    from servicelab.report.safe_html import safe_templates

    folders = (Path(__file__).parent, Path(report_page.__file__).parent)
    templates = safe_templates(*(folder / "templates" for folder in folders))
    verdict, style = _verdict(grade)
    return templates.get_template("grade.html").render(
        grade=grade,
        headline=headline(grade),
        verdict=verdict,
        style=style,
        because=_BECAUSE.get(grade.outcome, ""),
        facts=_facts(grade),
        styles=_STYLES,
        words=_WORDS,
    )


def _verdict(grade: Grade) -> tuple[str, str]:
    """What came of it in a few words, and the class of the style sheet."""
    if grade.outcome is Outcome.GRADED:
        return f"{grade.score} of {grade.possible} points", "holds" if grade.is_full else "failed"
    if grade.outcome is Outcome.REFUSED:
        return f"refused, 0 of {grade.possible} points", "failed"
    return "could not grade", "skipped"


def _facts(grade: Grade) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in (
            ("student", grade.student),
            ("exercise", grade.exercise),
            ("took", f"{grade.seconds:.1f} s"),
            ("Kubernetes", grade.kubernetes),
            ("submission (SHA-256)", grade.submission[:12]),
        )
        if value
    ]
