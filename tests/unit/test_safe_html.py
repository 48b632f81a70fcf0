"""A page shows what others wrote; it does nothing with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from servicelab.report.safe_html import safe_templates


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("' onmouseover='x", "&#39; onmouseover=&#39;x"),
        ("\x1b[2J\u202e\0", r"\x1b[2J\u202e\x00"),
        ("half \ud83d of a pair", r"half \ud83d of a pair"),
        ("{{ 7 * 7 }}", "{{ 7 * 7 }}"),
        (Markup("<b>ours</b>"), "<b>ours</b>"),
        (7, "7"),
    ],
)
def test_each_value_is_text(tmp_path: Path, text: object, shown: str) -> None:
    """Neither markup, nor a template, nor a control code; what our own code made is markup."""
    (tmp_path / "page.html").write_text("{{ value }}")

    page = safe_templates(tmp_path).get_template("page.html").render(value=text)

    assert page == shown
    page.encode("utf-8")


def test_a_name_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """A page with a hole in it would say that there was nothing."""
    (tmp_path / "page.html").write_text("{{ value }}")

    with pytest.raises(UndefinedError):
        safe_templates(tmp_path).get_template("page.html").render()
