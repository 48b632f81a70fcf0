"""Facts about this machine that tell a live owner from a dead one."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil


def boot_id() -> str:
    """An id that changes with every boot; "" where the kernel does not offer one."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that can't be mistaken for a later one with the same pid.

    Attributes:
        pid: process id.
        started: its start time, seconds since the epoch.
        boot_id: the boot it belongs to.
    """

    pid: int
    started: float
    boot_id: str

    def is_alive(self) -> bool:
        """Whether this very process still runs (same boot, same start time, not a zombie)."""
        if self.boot_id != boot_id():
            return False
        try:
            process = psutil.Process(self.pid)
            # psutil derives the start time from jiffies: two readings may differ by one tick.
            same = abs(process.create_time() - self.started) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def process_identity(pid: int | None = None) -> ProcessIdentity:
    """The identity of a running process; this one by default.

    Raises:
        psutil.NoSuchProcess: no process has that pid.
    """
    number = os.getpid() if pid is None else pid
    return ProcessIdentity(number, psutil.Process(number).create_time(), boot_id())
