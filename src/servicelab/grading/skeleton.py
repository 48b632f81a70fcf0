"""A new exercise to fill in; it passes `exercise verify` as it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

from servicelab.errors import UsageError
from servicelab.grading.catalogue import exercises_root
from servicelab.grading.exercise import FILE
from servicelab.report.safe_text import file_name

#: What a new exercise is copied from: small, and with every part.
MODEL = "mend-the-selector"


def new_exercise(name: str, root: Path) -> Path:
    """Write a new exercise, as a copy of a small one; returns its folder.

    Raises:
        UsageError: the name can't be one, or there is such a folder already.
    """
    if file_name(name) != name or "." in name or "_" in name:
        raise UsageError(
            f"{name!r} can't be an exercise's name", remedy="write small letters, digits and -"
        )
    folder = root / name
    if folder.exists():
        raise UsageError(f"{folder} exists already", remedy="choose another name")
    shutil.copytree(exercises_root() / MODEL, folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / FILE
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    titled = [f"title: {name}\n" if line.startswith("title:") else line for line in lines]
    file.write_text("".join(titled), encoding="utf-8")
    return folder
