"""The report for people: one page for the run, and one for what a claim's test left.

Each is a single file without scripts: nothing is fetched, and everything that was written by others
is escaped. A policy in the page forbids scripts besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from servicelab.report.evidence.collection import PAGE, read_index
from servicelab.report.page.left_behind import LeftBehind, left_behind
from servicelab.report.page.run_view import FULL, Limits, run_view
from servicelab.report.safe_html import safe_templates

MOST_BYTES = 2_000_000
"""Of the run's page: it is sent around and read on phones."""
#: Tried in order until the page is small enough.
_LIMITS = (
    FULL,
    Limits(message=1500, seen=500, pictures=2, names=3, files=8),
    Limits(message=400, seen=200, pictures=0, names=0, files=0),
    Limits(message=120, seen=60, pictures=0, names=0, files=0),
)


def render_run(content: Mapping[str, Any], folder: Path, *, base: str = "") -> str:
    """The page of a run.

    Args:
        content: its results, as claims.json holds them.
        folder: of the run, for what its evidence holds.
        base: what leads from the page to the folder; "" if the page lies in it.
    """
    evidence = _evidence(content, folder)
    html = ""
    for limits in _LIMITS:
        view = run_view(content, evidence, base=base, limits=limits)
        html = _templates().get_template("run.html").render(run=view)
        if len(html.encode()) <= MOST_BYTES:
            break
    return html


def write_evidence_page(folder: Path, index: Mapping[str, Any]) -> None:
    """Write the page of a folder of evidence into it.

    Args:
        folder: with the files that the index names.
        index: as evidence.json holds it.

    Raises:
        OSError: it can't be written.
    """
    html = _templates().get_template("evidence.html").render(left=left_behind(index, folder))
    (folder / PAGE).write_text(html, "utf-8")


def _evidence(content: Mapping[str, Any], folder: Path) -> dict[str, LeftBehind]:
    """What each test left, by the path that the results name, if it is there."""
    found = {}
    for claim in content.get("claims", ()):
        for test in claim.get("tests", ()):
            path = str(test.get("evidence") or "")
            # The results may come from anywhere: a path that we would not have made is no link.
            if path and path not in found and _is_ours(path):
                index = read_index(folder / path)
                if index:
                    found[path] = left_behind(index)
    return found


def _is_ours(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 2 and parts[0] == "evidence" and parts[1] not in ("", ".", "..")


@cache
def _templates() -> Environment:
    return safe_templates(Path(__file__).parent / "templates")
