"""Running labs: one pytest session with the results where a user looks for them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from servicelab.content import content_root, lab_path

#: What pytest's exit status means here.
_EXIT_CODES = {
    pytest.ExitCode.OK: 0,
    pytest.ExitCode.TESTS_FAILED: 1,
    pytest.ExitCode.INTERRUPTED: 2,  # by errors in collecting: a file that can't be used
    pytest.ExitCode.USAGE_ERROR: 2,
    pytest.ExitCode.NO_TESTS_COLLECTED: 2,
}
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
        # The claim matrix has said once what is skipped and why.
        "-rfE",
        # This very process has imported servicelab already; its few asserts need no rewriting.
        "-W", "ignore::pytest.PytestAssertRewriteWarning",
        "-o", f"cache_dir={(RESULTS / 'pytest_cache').absolute()}",
        f"--junitxml={RESULTS / 'junit.xml'}",
        f"--claims-json={RESULTS / 'claims.json'}",
    ]  # fmt: skip
    return [*defaults, *(labs or [str(root / "labs")]), *rest]


class _Interruption:
    """A plugin that hears of Ctrl-C: pytest's exit status says the same for a broken test file."""

    happened = False

    def pytest_keyboard_interrupt(self) -> None:
        self.happened = True


def run_labs(arguments: Sequence[str]) -> int:
    """Run the labs in this process.

    Returns:
        The exit code: 0 every claim as known, 1 a claim differs or is not proved, 2 something given
        can't be used, 3 the infrastructure failed, 130 interrupted.
    """
    # A lab's bytecode has no place among the installed files.
    sys.dont_write_bytecode = True
    interruption = _Interruption()
    status = pytest.main(pytest_arguments(arguments), plugins=[interruption])
    return 130 if interruption.happened else _EXIT_CODES.get(pytest.ExitCode(status), 3)
