"""For how many guests of one session this machine has room."""

from __future__ import annotations

import os
import shutil

import psutil

from servicelab.vm.guest import MEMORY_FOLDER
from servicelab.vm.record import live_records
from servicelab.vm.running import MEMORY

#: More are not tried by themselves: each makes a cluster of its own first.
MOST = 2


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def room_for_guests() -> int:
    """Each has a processor that no other guest is pinned to, and its memory; 1 at least."""
    free = os.sched_getaffinity(0) - {record.processor for record in live_records()}
    memory = min(shutil.disk_usage(MEMORY_FOLDER).free, psutil.virtual_memory().available)
    return max(1, min(len(free), int(memory / (MEMORY * (1 << 30))), MOST))
