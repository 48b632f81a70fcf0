"""A grade as a page of its own, without anything from elsewhere."""

from __future__ import annotations

from pathlib import Path

from servicelab.grading.report.text import headline
from servicelab.grading.results import Grade


def render(grade: Grade) -> str:
    """All of a grade; what a submission says is text in it, never markup."""
    from servicelab.report.safe_html import safe_templates

    template = safe_templates(Path(__file__).parent / "templates").get_template("grade.html")
    return template.render(grade=grade, headline=headline(grade)) + "\n"
