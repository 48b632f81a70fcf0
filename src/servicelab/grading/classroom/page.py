"""The class on one page: where it struggled, and who got what; nothing is fetched, no script."""

from __future__ import annotations

from servicelab.grading.classroom.gradebook import NOT_HANDED_IN, Gradebook
from servicelab.grading.classroom.struggles import views
from servicelab.report.safe_text import printable


def render(book: Gradebook) -> str:
    """A gradebook as a page; names and what manifests say are text in it, never markup."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("servicelab.grading.classroom"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("overview.html")
    return template.render(
        book=book, views=views(book), grades=book.by_student, not_handed_in=NOT_HANDED_IN
    )
