"""Pages from templates: whatever others wrote is text in them, never markup, and steers nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from servicelab.report.safe_text import printable


def safe_templates(*folders: Path) -> Environment:
    """The templates of folders, the first that has it; each value is made printable, then escaped.

    Only what Python code says is markup (`Markup`) goes into a page as it is.
    """
    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """Every value that a template writes, before it is escaped."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
