"""A folder of evidence, as a page shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from servicelab.report.safe_text import file_name, one_line, printable, within

_PATH = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*){0,3}")
_SHOWN = 40_000
"""Characters of one file that the page shows; the file itself has the rest."""
_SHOWN_IN_ALL = 1_200_000
_FOR_MACHINES = ".jsonl"
#: What a reader looks for first, first; what is one of many stands under a common name.
_ORDER = (
    ("fault.txt", ""),
    ("requests.txt", ""),
    ("dns.txt", ""),
    ("*/objects.yaml", ""),
    ("*/endpointslices.yaml", ""),
    ("*/events.txt", ""),
    ("rules/*", "rules of each node"),
    ("*/logs/*", "Pod logs"),
    ("system/*", "kube-proxy and CoreDNS"),
    ("nodes.yaml", ""),
    ("*", ""),
)


@dataclass(frozen=True, slots=True)
class LeftFile:
    """One file of evidence.

    Attributes:
        path: below the folder.
        title: what it holds.
        group: what it is one of, else its title; "" for what only machines read.
        anchor: of its part of the folder's page.
        size: in words.
        text: what the page shows of it; None for nothing.
        cut: does the page show less than there is?
    """

    path: str
    title: str
    group: str
    anchor: str
    size: str
    text: str | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What one test left.

    Attributes:
        claim, mode, verdict, nodeid: whose it is.
        seconds: how long it took to save.
        files: what was saved.
        missing: what could not be had, each with its reason.
    """

    claim: str
    mode: str
    verdict: str
    nodeid: str
    seconds: float
    files: tuple[LeftFile, ...]
    missing: tuple[tuple[str, str], ...]


def left_behind(index: Mapping[str, Any], folder: Path | None = None) -> LeftBehind:
    """A folder's evidence.json, as a page shows it.

    Args:
        index: what it says; files whose path servicelab would not have made are left out.
        folder: where the files are, to show their texts; None for the list alone.
    """
    files = []
    left = _SHOWN_IN_ALL
    for entry in sorted(_entries(index, "files"), key=lambda entry: _rank(_path(entry))):
        path = _path(entry)
        if not _PATH.fullmatch(path) or ".." in path:
            continue
        title = one_line(str(entry.get("title", path)), 120)
        text, cut = _shown(folder / path, min(_SHOWN, left)) if folder else (None, False)
        left -= len(text or "")
        files.append(
            LeftFile(
                path=path,
                title=title,
                group="" if path.endswith(_FOR_MACHINES) else _ORDER[_rank(path)][1] or title,
                anchor=file_name(path.replace("/", "-")),
                size=_size(entry.get("size", 0)),
                text=text,
                cut=cut or bool(entry.get("cut")),
            )
        )
    missing = tuple(
        (one_line(str(each.get("title", "")), 120), one_line(str(each.get("why", "")), 300))
        for each in _entries(index, "missing")
    )
    seconds = index.get("seconds", 0)
    return LeftBehind(
        **{
            key: one_line(str(index.get(key, "")), 200)
            for key in ("claim", "mode", "verdict", "nodeid")
        },
        seconds=seconds if isinstance(seconds, int | float) else 0,
        files=tuple(files),
        missing=missing,
    )


def _path(entry: Mapping[str, Any]) -> str:
    return str(entry.get("path", ""))


def _rank(path: str) -> int:
    matching = (n for n, (pattern, _) in enumerate(_ORDER) if fnmatch(path, pattern))
    return next(matching, len(_ORDER) - 1)


def _entries(index: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = index.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _shown(file: Path, most: int) -> tuple[str | None, bool]:
    if file.suffix == _FOR_MACHINES or most <= 0:
        return None, False
    try:
        text = file.read_text("utf-8", errors="replace")
    except OSError:
        return None, False
    shown, cut = within(text, most, "last" if "log" in file.parts[-2] else "first")
    return printable(shown), cut


def _size(size: object) -> str:
    if not isinstance(size, int):
        return ""
    return f"{size} B" if size < 2000 else f"{size / 1000:.0f} kB"
