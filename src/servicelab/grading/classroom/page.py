"""The class on one page: where it struggled, and who got what; nothing is fetched, no script."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path

from servicelab.grading.classroom.gradebook import NOT_HANDED_IN, Gradebook
from servicelab.grading.classroom.struggles import views
from servicelab.report.safe_text import file_name


def render(book: Gradebook) -> str:
    """A gradebook as a page; names and what manifests say are text in it, never markup."""
    from servicelab.report import page as report_page
    from servicelab.report.safe_html import safe_templates

    folders = (Path(__file__).parent, Path(report_page.__file__).parent)
    templates = safe_templates(*(folder / "templates" for folder in folders))
    return templates.get_template("overview.html").render(
        book=book,
        views=views(book),
        anchors={task.name: file_name(task.name) for task in book.tasks},
        grades=book.by_student,
        not_handed_in=NOT_HANDED_IN,
        counted=_counted,
    )


def _counted(things: Sized, word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"
