"""A grade as a page of its own, without anything from elsewhere."""

from __future__ import annotations

from servicelab.grading.report.text import headline
from servicelab.grading.results import Grade
from servicelab.report.safe_text import printable


def render(grade: Grade) -> str:
    """All of a grade; what a submission says is text in it, never markup."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("servicelab.grading.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("grade.html")
    return template.render(grade=grade, headline=headline(grade)) + "\n"
