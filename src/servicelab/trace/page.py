"""A trace as a page: a single file without scripts, which fetches nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment

from servicelab.errors import UsageError
from servicelab.report import page as report_page
from servicelab.report.safe_html import safe_templates
from servicelab.trace.picture import PHONE, WIDE, picture
from servicelab.trace.result import Trace

_FOLDERS = (Path(__file__).parent / "templates", Path(report_page.__file__).parent / "templates")


def check_writable(file: Path) -> None:
    """Refuse a place for the page before anything is asked.

    Raises:
        UsageError: its folder is not there, or it is a folder itself.
    """
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent} for the page", remedy="make it first")
    if file.is_dir():
        raise UsageError(f"{file} is a folder", remedy="name a file for the page")


def write_page(trace: Trace, file: Path) -> None:
    """Write a trace's page.

    Raises:
        UsageError: it can't be written there.
    """
    try:
        file.write_text(render_page(trace), "utf-8")
    except OSError as error:
        raise UsageError(f"the page can't be written to {file}: {error.strerror}") from None


def render_page(trace: Trace) -> str:
    """A trace's page as HTML."""
    template = _templates().get_template("trace.html")
    # Two pictures, of which one is shown: one that only shrinks can't be read on a phone.
    pictures = {"wide": picture(trace, WIDE), "phone": picture(trace, PHONE)}
    return template.render(trace=trace, pictures=pictures, facts=_facts(trace))


def _facts(trace: Trace) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in (
            ("type", trace.type),
            ("asked", f"{trace.asked} ({trace.protocol})"),
            ("asked from", f"{trace.place} {trace.place.ip}"),
            ("proxy mode", trace.mode),
            ("translated on", trace.node),
            ("why there", trace.why_node),
            ("answered by", trace.answered_by),
            ("the client met", trace.outcome),
        )
        if value
    ]


@cache
def _templates() -> Environment:
    return safe_templates(*_FOLDERS)
