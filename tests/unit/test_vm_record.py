"""Records of guests: what a dead runner left is swept."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from servicelab.host import process_identity
from servicelab.vm.record import Record, live_records, records_root, sweep


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A guest of this process, with a folder, written down."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "servicelab-vm-1"
    folder.mkdir()
    (folder / "cow").write_text("x")
    return Record(process_identity(), folder, 1, "true").write()


def _dead(record: Record) -> Record:
    return replace(record, runner=replace(record.runner, started=0.0)).write()


def test_a_guest_of_a_live_runner_is_left_alone(record: Record) -> None:
    """It is found, with its processor."""
    assert sweep() == []
    assert live_records() == [record]
    assert record.folder.exists()


def test_what_a_dead_runner_left_is_removed(record: Record) -> None:
    """Folder and record."""
    dead = _dead(record)

    assert sweep() == [dead]
    assert not record.folder.exists()
    assert live_records() == []
    assert not list(records_root().iterdir())


def test_a_guest_that_outlived_its_runner_is_ended(record: Record) -> None:
    """Its kernel is found by its session and its folder."""
    command = [sys.executable, "-c", "import time; time.sleep(60)", str(record.folder)]
    with subprocess.Popen(command, start_new_session=True) as left:
        dead = _dead(record.started(process_identity(left.pid)))

        assert sweep() == [dead]

        assert left.wait(5) == -9


def test_another_process_with_the_number_is_left_alone(record: Record) -> None:
    """A session whose processes do not name the folder is another's."""
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, start_new_session=True) as other:
        _dead(record.started(process_identity(other.pid)))

        sweep()

        assert other.poll() is None
        other.kill()


def test_a_damaged_record_is_removed(record: Record) -> None:
    """It can't tell whose it was."""
    record.path.write_text("{")

    assert sweep() == []
    assert not record.path.exists()
