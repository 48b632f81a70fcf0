"""The class on one page: where it struggled, and who got what; nothing is fetched, no script."""

from __future__ import annotations

from pathlib import Path

from servicelab.grading.classroom.gradebook import NOT_HANDED_IN, Gradebook
from servicelab.grading.classroom.struggles import views


def render(book: Gradebook) -> str:
    """A gradebook as a page; names and what manifests say are text in it, never markup."""
    from servicelab.report.safe_html import safe_templates

    template = safe_templates(Path(__file__).parent / "templates").get_template("overview.html")
    return template.render(
        book=book, views=views(book), grades=book.by_student, not_handed_in=NOT_HANDED_IN
    )
