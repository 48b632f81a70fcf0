"""A cluster that goes with its session is told so before the session's fixtures are taken down."""

from __future__ import annotations

import re

import pytest

CONFTEST = """
import pytest
from types import SimpleNamespace
from servicelab.fixtures import CLUSTER

@pytest.fixture(scope="session")
def kind_cluster(pytestconfig):
    cluster = SimpleNamespace(ours={ours}, keep={keep}, going=False)
    pytestconfig.stash[CLUSTER] = cluster
    yield cluster
    print("session:", cluster.going)

@pytest.fixture
def own(kind_cluster):
    yield
    print("test:", kind_cluster.going)
"""
TESTS = """
import pytest

def test_first(own):
    pass

def test_last(own):
    {last}
"""


@pytest.mark.parametrize(
    ("ours", "keep", "last", "told"),
    [
        (True, False, "pass", ["test: False", "test: True", "session: True"]),
        # A test that fails is not the last one by itself.
        (True, False, "assert False", ["test: False", "test: True", "session: True"]),
        (True, False, "raise KeyboardInterrupt", ["test: False", "test: True", "session: True"]),
        (True, True, "pass", ["test: False", "test: False", "session: False"]),
        (False, False, "pass", ["test: False", "test: False", "session: False"]),
    ],
)
def test_after_the_last_test_the_cluster_goes(
    pytester: pytest.Pytester, *, ours: bool, keep: bool, last: str, told: list[str]
) -> None:
    """Unless it is kept, or is not ours to delete."""
    pytester.makeconftest(CONFTEST.format(ours=ours, keep=keep))
    pytester.makepyfile(TESTS.format(last=last))

    result = pytester.runpytest_inprocess("-s", no_reraise_ctrlc=True)

    assert re.findall(r"(?:test|session): \w+", result.stdout.str()) == told


def test_a_worker_leaves_it_to_the_others(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is the last one of them."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    pytester.makeconftest(CONFTEST.format(ours=True, keep=False))
    pytester.makepyfile(TESTS.format(last="pass"))

    result = pytester.runpytest_inprocess("-s")

    result.stdout.fnmatch_lines(["*session: False"])
