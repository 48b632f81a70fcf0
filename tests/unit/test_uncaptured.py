"""What takes long is told while it happens, although pytest captures."""

from __future__ import annotations

import pytest

PASSING = """
import sys
import pytest
from servicelab.progress import Progress
from servicelab.report.uncaptured import Uncaptured

@pytest.fixture(scope="session")
def slow(pytestconfig):
    with Progress(stream=Uncaptured(pytestconfig)).step("building the images"):
        print("captured", file=sys.stderr)

def test_it(slow):
    pass
"""


def test_progress_is_seen_in_a_passing_run(pytester: pytest.Pytester) -> None:
    """A step of a fixture is on standard error, on lines of its own; a print is captured."""
    pytester.makepyfile(PASSING)

    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    ran.assert_outcomes(passed=1)
    ran.stderr.fnmatch_lines(["*building the images …", "*building the images  done in *"])
    assert "captured" not in ran.stderr.str() + ran.stdout.str()


def test_progress_is_seen_under_xdist_too(pytester: pytest.Pytester) -> None:
    """A worker's steps reach the terminal as well."""
    pytester.makepyfile(PASSING)

    ran = pytester.runpytest_subprocess("-n", "1", "-p", "no:cacheprovider")

    ran.assert_outcomes(passed=1)
    ran.stderr.fnmatch_lines(["*building the images  done in *"])
