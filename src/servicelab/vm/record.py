"""Which guests run: one file each, written before anything else, so that nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from filelock import FileLock

from servicelab.cache import state_root
from servicelab.host import ProcessIdentity
from servicelab.verdict import deadlines
from servicelab.verdict.message import NotProved
from servicelab.verdict.waiting import eventually


@dataclass(frozen=True, slots=True)
class Record:
    """A guest.

    Attributes:
        runner: the process that started it, and without which it ends.
        folder: holds its memory and what it writes; goes with it.
        processor: the processor that it is pinned to.
        command: what it runs, for people.
        guest: its kernel's process; None until it was started.
    """

    runner: ProcessIdentity
    folder: Path
    processor: int
    command: str
    guest: ProcessIdentity | None = None

    @property
    def path(self) -> Path:
        """Where it is written."""
        return records_root() / f"{self.folder.name}.json"

    def write(self) -> Record:
        """Write it, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps({**asdict(self), "folder": str(self.folder)}))
        draft.replace(self.path)
        return self

    def started(self, guest: ProcessIdentity) -> Record:
        """The same with the kernel's process, written."""
        return replace(self, guest=guest).write()

    def forget(self) -> None:
        """End what is left of the guest, and remove its folder and this record."""
        if self.guest is not None:
            _end(self.guest.pid, self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.path.unlink(missing_ok=True)


def records_root() -> Path:
    """The folder of all records."""
    return state_root() / "vm"


@contextmanager
def records_lock() -> Iterator[None]:
    """Hold all records, so that two guests that start at once do not choose the same processor."""
    records_root().mkdir(parents=True, exist_ok=True)
    with FileLock(records_root() / "lock"):
        yield


def live_records() -> list[Record]:
    """The guests whose runners live, by folder."""
    return [record for record in _records() if record.runner.is_alive()]


def sweep() -> list[Record]:
    """Remove what dead runners left; gives their records."""
    dead = [record for record in _records() if not record.runner.is_alive()]
    for record in dead:
        record.forget()
    return dead


def _records() -> list[Record]:
    found = []
    for path in sorted(records_root().glob("*.json")):
        try:
            data = json.loads(path.read_text())
            guest = data["guest"]
            found.append(
                Record(
                    ProcessIdentity(**data["runner"]),
                    Path(data["folder"]),
                    data["processor"],
                    data["command"],
                    ProcessIdentity(**guest) if guest else None,
                )
            )
        except FileNotFoundError:
            continue  # It ended while we looked.
        except (ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)  # Written by another version.
    return found


def _end(session: int, folder: Path) -> None:
    """Kill the processes of a guest: they are in one session, and name its folder."""
    ours = _processes(session, folder)
    for pid in ours:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if not ours:
        return
    try:
        eventually(
            lambda: _processes(session, folder),
            lambda pids: not pids,
            deadline=deadlines.current().guest_stopped,
            expecting="the guest's processes should be gone",
            every=0.02,
        )
    except NotProved:
        return  # They are unkillable: the folder goes all the same.


def _processes(session: int, folder: Path) -> list[int]:
    """Processes of a session that belong to a guest; another may have got the same number."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            if os.getsid(process.pid) != session or process.info["status"] == psutil.STATUS_ZOMBIE:
                continue
            maps = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in maps or not maps:
            found.append(process.pid)
    return found
