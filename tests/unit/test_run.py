"""`servicelab run`: names become paths, results have a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicelab.content import content_root, lab_names, lab_path
from servicelab.errors import UsageError
from servicelab.run import pytest_arguments


def test_a_lab_is_found_by_its_name() -> None:
    """`clusterip` is the folder labs/clusterip of this installation."""
    assert "clusterip" in lab_names()
    assert lab_path("clusterip") == content_root() / "labs" / "clusterip"


def test_a_path_that_exists_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test file of the user's own can be run, one test of it too."""
    (tmp_path / "test_mine.py").touch()
    monkeypatch.chdir(tmp_path)

    assert lab_path("test_mine.py::test_one") == tmp_path / "test_mine.py::test_one"


def test_an_unknown_lab_is_refused_with_the_ones_there_are() -> None:
    """A name that is neither a lab nor a path says which labs there are."""
    with pytest.raises(UsageError, match=r"no lab 'nodeprot'.*clusterip"):
        lab_path("nodeprot")


def test_without_a_name_every_lab_runs() -> None:
    """No name: the folder of all labs, then what the user passed on."""
    arguments = pytest_arguments(["-k", "CIP-01"])

    assert arguments[-3:] == [str(content_root() / "labs"), "-k", "CIP-01"]


def test_names_come_first_and_options_go_through() -> None:
    """Labs stand before the first option; what follows is pytest's."""
    arguments = pytest_arguments(["clusterip", "--proxy-mode", "nftables"])

    assert arguments[-3:] == [str(lab_path("clusterip")), "--proxy-mode", "nftables"]


def test_results_go_below_the_current_folder() -> None:
    """Claims as JSON and JUnit are written where README says."""
    arguments = pytest_arguments([])

    assert "--claims-json=.servicelab/claims.json" in arguments
    assert "--junitxml=.servicelab/junit.xml" in arguments
