"""Running one command in a guest as if it ran here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from servicelab.errors import UsageError
from servicelab.progress import Progress
from servicelab.vm.guest import Guest, Machine, guest
from servicelab.vm.orders import IN_GUEST, orders_for
from servicelab.vm.parts import ensure_parts
from servicelab.vm.streams import Sinks, own_sinks

#: GiB. A cluster of three nodes takes less than half of it.
MEMORY = 4.0
LEAST_MEMORY = 0.25
#: What is passed on to the command.
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command in a guest ended.

    Attributes:
        code: its exit code; 128 and the signal's number if one ended it.
        signals: what we got meanwhile and passed on.
    """

    code: int
    signals: tuple[int, ...]


def run_in_guest(
    command: Sequence[str],
    *,
    memory: float = MEMORY,
    writable: Sequence[Path] = (),
    progress: Progress,
    sinks: Sinks | None = None,
    env: Mapping[str, str] | None = None,
) -> Ended:
    """Run a command in a guest with a kernel of its own; its output goes where ours goes.

    The guest sees the host's files. What it writes is thrown away, but for the folder of the runs'
    results and those that are named. It has no network.

    Args:
        command: the command and its arguments.
        memory: the guest's memory, GiB.
        writable: folders that it shares with the host.
        progress: where the building of what is missing is reported.
        sinks: where its output goes, instead.
        env: its environment, instead of ours.

    Returns:
        How it ended.

    Raises:
        UsageError: this is a guest already, or something given can't be used.
        InfrastructureError: the guest can't be built or started, or fails.
    """
    if os.environ.get(IN_GUEST):
        raise UsageError("this is a guest already", remedy="run the command itself")
    if memory < LEAST_MEMORY:
        raise UsageError(f"a guest can't do with {memory:g} GiB of memory", remedy="give it 4")
    parts = ensure_parts(progress)
    reports = sinks is not None and sinks.reports is not None
    orders = orders_for(command, modules=parts.modules, writable=writable, env=env, reports=reports)
    machine = Machine(parts.kernel, parts.data, round(memory * 1024))
    new = [path for path in map(Path, orders.writable) if not path.exists()]
    try:
        with guest(machine, orders, sinks or own_sinks()) as started, _signals_to(started):
            started.wait_until_it_runs()
            return Ended(started.wait(), started.signals)
    finally:
        for folder in new:
            # The command left nothing there.
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


@contextmanager
def _signals_to(started: Guest) -> Iterator[None]:
    """Meanwhile the command in the guest gets the signals that we get."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        started.signal(number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
