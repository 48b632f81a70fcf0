"""A run's folder is found again by its name, and `latest` leads to the last one."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from servicelab.errors import UsageError
from servicelab.report.run_folder import RunFolder, find_run, remake_report

CONTENT: dict[str, Any] = {"schema": 1, "run": {"modes": ["iptables"]}, "claims": []}


def run(runs: Path, hour: int) -> RunFolder:
    return RunFolder.new(runs, datetime(2026, 11, 21, hour, 43, 36))


def test_nothing_is_made_before_something_is_written(tmp_path: Path) -> None:
    """A session that proves nothing leaves nothing."""
    folder = run(tmp_path / "runs", 14)

    assert folder.name.startswith("2026-11-21-144336-")
    assert list(tmp_path.iterdir()) == []


def test_a_run_leaves_results_and_page(tmp_path: Path) -> None:
    """claims.json and report.html, and no half file beside them."""
    folder = run(tmp_path, 14)
    folder.write(CONTENT)

    assert sorted(path.name for path in folder.path.iterdir()) == ["claims.json", "report.html"]
    assert folder.read() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder.name, "latest"])


def test_latest_is_the_run_that_ended_last(tmp_path: Path) -> None:
    """The link is moved with each run, and is relative: the folder may be moved or sent."""
    first, second = run(tmp_path, 14), run(tmp_path, 15)
    second.write(CONTENT)
    first.write(CONTENT)

    assert (tmp_path / "latest").readlink() == Path(first.name)
    assert find_run("latest", tmp_path).name == first.name


def test_without_links_latest_is_the_newest_name(tmp_path: Path) -> None:
    """A file system that has no symbolic links, or an archive that lost them."""
    for hour in (14, 16, 15):
        run(tmp_path, hour).write(CONTENT)
    (tmp_path / "latest").unlink()
    unfinished = run(tmp_path, 17)
    unfinished.path.mkdir()

    assert find_run("latest", tmp_path).name.startswith("2026-11-21-164336")


def test_a_run_is_found_by_name_end_or_folder(tmp_path: Path) -> None:
    """A user need not type all of it."""
    folder = run(tmp_path, 14)
    folder.write(CONTENT)

    for name in (folder.name, folder.name[-4:], str(folder.path)):
        assert find_run(name, tmp_path).read() == CONTENT


@pytest.mark.parametrize("name", ["latest", "7f3a", "../../etc", "", "*"])
def test_no_such_run(tmp_path: Path, name: str) -> None:
    """One sentence, and what to do."""
    with pytest.raises(UsageError, match="run a lab: servicelab run"):
        find_run(name, tmp_path / "none")


def test_a_wrong_name_is_answered_with_right_ones(tmp_path: Path) -> None:
    """The last runs are named."""
    folder = run(tmp_path, 14)
    folder.write(CONTENT)

    with pytest.raises(UsageError, match=f"such as {folder.name}"):
        find_run("nope", tmp_path)


def test_tests_in_several_processes_get_folders_of_their_own(tmp_path: Path) -> None:
    """A claim with three tests leaves three folders, whoever is first."""
    folder = run(tmp_path, 14)
    with ThreadPoolExecutor(3) as workers:
        made = list(workers.map(lambda _: folder.new_evidence("CIP-04", "iptables"), range(3)))

    assert sorted(path.name for path in made) == [
        "cip-04-iptables",
        "cip-04-iptables-2",
        "cip-04-iptables-3",
    ]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "is not JSON"),
        ("[]", "its schema is not 1"),
        ('{"schema": 2}', "its schema is not 1"),
        ('{"schema": 1, "claims": [1]}', "is not what servicelab writes"),
        ('{"schema": 1, "claims": [{"tests": [1]}]}', "is not what servicelab writes"),
        ('{"schema": 1, "claims": [{"seconds": "long"}]}', "is not what servicelab writes"),
    ],
)
def test_results_that_cannot_be_used(tmp_path: Path, written: str, says: str) -> None:
    """What somebody else wrote is one sentence, never a traceback."""
    (tmp_path / "claims.json").write_text(written)

    with pytest.raises(UsageError, match=says):
        remake_report(str(tmp_path), tmp_path)


def test_a_page_elsewhere_links_back(tmp_path: Path) -> None:
    """--html writes a copy; its links lead to the run's evidence."""
    folder = RunFolder(tmp_path / "a run#1")
    left = folder.new_evidence("CIP-04", "iptables")
    (left / "evidence.json").write_text(json.dumps({"files": [], "missing": []}))
    test = {"evidence": "evidence/cip-04-iptables"}
    claim = {"id": "CIP-04", "mode": "iptables", "verdict": "not proved", "tests": [test]}
    folder.write({**CONTENT, "claims": [claim]})

    page = remake_report(str(folder.path), tmp_path, tmp_path / "pages" / "copy.html")

    assert 'href="../a%20run%231/evidence/cip-04-iptables/index.html"' in page.read_text()
    assert 'href="evidence/cip-04-iptables/index.html"' in folder.report.read_text()


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    """A wrong --html is the user's to mend."""
    folder = RunFolder(tmp_path / "run")
    folder.write(CONTENT)
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match=r"copy.html can't be written: .*; name another file"):
        remake_report(str(folder.path), tmp_path, tmp_path / "file" / "copy.html")
