"""Running labs: one pytest session with the results where a user looks for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from servicelab.content import content_root, lab_path

#: Where a run leaves its results, below the current folder.
RESULTS = Path(".servicelab")


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """What pytest gets for `servicelab run ARGUMENTS`.

    Lab names become paths; everything that starts with "-" goes through, and so does what follows
    it if it names no lab.

    Raises:
        UsageError: a name that stands first is neither a lab nor a path.
    """
    labs: list[str] = []
    rest = list(arguments)
    while rest and not rest[0].startswith("-"):
        labs.append(str(lab_path(rest.pop(0))))
    root = content_root()
    defaults = [
        f"--rootdir={root}",
        f"--confcutdir={root}",
        "--import-mode=importlib",
        "-o", f"cache_dir={(RESULTS / 'pytest_cache').absolute()}",
        f"--junitxml={RESULTS / 'junit.xml'}",
        f"--claims-json={RESULTS / 'claims.json'}",
    ]  # fmt: skip
    return [*defaults, *(labs or [str(root / "labs")]), *rest]


def run_labs(arguments: Sequence[str]) -> int:
    """Run the labs in this process.

    Returns:
        pytest's exit status.
    """
    # A lab's bytecode has no place among the installed files.
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    return int(pytest.main(pytest_arguments(arguments)))
