"""Running one command in a guest as if it ran here, or several side by side."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from servicelab.errors import ServicelabError, UsageError
from servicelab.progress import Progress
from servicelab.vm.guest import Machine, check_memory, guest
from servicelab.vm.orders import IN_GUEST, Orders, orders_for
from servicelab.vm.parts import Parts, ensure_parts
from servicelab.vm.relay import Reins, signals_to
from servicelab.vm.streams import Sinks, own_sinks

#: GiB. A cluster of three nodes takes less than half of it.
MEMORY = 4.0
LEAST_MEMORY = 0.25


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command in a guest ended.

    Attributes:
        code: its exit code; 128 and the signal's number if one ended it.
        signals: what we got meanwhile and passed on.
        starved: what the guest's kernel ended for want of memory, by name.
    """

    code: int
    signals: tuple[int, ...]
    starved: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Did somebody end it?"""
        return signal.SIGINT in self.signals or signal.SIGTERM in self.signals


@dataclass(frozen=True, slots=True)
class Errand:
    """What one of several guests is to do.

    Attributes:
        command: the command and its arguments.
        sinks: where its output goes.
        env: its environment.
        reins: what it is stopped by.
    """

    command: Sequence[str]
    sinks: Sinks
    env: Mapping[str, str]
    reins: Reins = field(default_factory=Reins)


def run_in_guest(
    command: Sequence[str],
    *,
    memory: float = MEMORY,
    writable: Sequence[Path] = (),
    progress: Progress,
) -> Ended:
    """Run a command in a guest with a kernel of its own; its output goes where ours goes.

    The guest sees the host's files. What it writes is thrown away, but for the folder of the runs'
    results and those that are named. It has no network.

    Args:
        command: the command and its arguments.
        memory: the guest's memory, GiB.
        writable: folders that it shares with the host.
        progress: where the building of what is missing is reported.

    Returns:
        How it ended.

    Raises:
        UsageError: this is a guest already, or something given can't be used.
        InfrastructureError: the guest can't be built or started, or fails.
    """
    parts = _parts(memory, progress)
    orders = orders_for(command, modules=parts.modules, writable=writable)
    with (
        _no_empty_folders(orders),
        guest(_machine(parts, memory), orders, own_sinks()) as started,
        signals_to([started]),
    ):
        started.wait_until_it_runs()
        ended = Ended(started.wait(), started.signals, started.starved)
        _tell_of_memory([ended], progress)
        return ended


def run_in_guests(
    errands: Sequence[Errand],
    *,
    memory: float = MEMORY,
    writable: Sequence[Path] = (),
    progress: Progress,
) -> list[Ended | ServicelabError]:
    """Run a command in each of several guests, as `run_in_guest` does, side by side.

    Args:
        errands: what each is to do.
        memory: of each guest, GiB.
        writable: folders that they share with the host.
        progress: where the building of what is missing is reported.

    Returns:
        How each ended, in their order; or why it could not be started, or failed.

    Raises:
        UsageError: this is a guest already, or something given can't be used.
        InfrastructureError: what guests are made of can't be built, or there is no memory for them.
    """
    parts = _parts(memory, progress)
    machine = _machine(parts, memory)
    check_memory(machine.memory, len(errands))
    orders = [
        orders_for(
            errand.command,
            modules=parts.modules,
            writable=writable,
            env=errand.env,
            reports=errand.sinks.reports is not None,
        )
        for errand in errands
    ]
    reins = [errand.reins for errand in errands]
    with (
        _no_empty_folders(*orders),
        signals_to(reins),
        # A guest ends with the thread that started it: each of these lives until all have ended.
        ThreadPoolExecutor(len(errands), thread_name_prefix="guest") as threads,
    ):
        running = [
            threads.submit(_run, machine, order, errand)
            for order, errand in zip(orders, errands, strict=True)
        ]
        try:
            outcomes = [each.result() for each in running]
        except BaseException:
            for each in reins:
                each.stop()
            raise
    _tell_of_memory(outcomes, progress)
    return outcomes


def _run(machine: Machine, orders: Orders, errand: Errand) -> Ended | ServicelabError:
    reins = errand.reins
    if number := reins.ended_early:
        return Ended(128 + number, reins.signals)
    try:
        with guest(machine, orders, errand.sinks) as started:
            started.wait_until_it_runs()
            reins.lead(started)
            return Ended(started.wait(), reins.signals, started.starved)
    except ServicelabError as error:
        return error


def _tell_of_memory(outcomes: Sequence[Ended | ServicelabError], progress: Progress) -> None:
    for number, outcome in enumerate(outcomes, 1):
        if isinstance(outcome, Ended) and outcome.starved:
            which = f"guest {number}" if len(outcomes) > 1 else "the guest"
            progress.say(
                f"{which} ran out of memory, and its kernel ended {', '.join(outcome.starved)}: "
                "what failed in it may have failed for that"
            )


def _parts(memory: float, progress: Progress) -> Parts:
    if os.environ.get(IN_GUEST):
        raise UsageError("this is a guest already", remedy="run the command itself")
    if memory < LEAST_MEMORY:
        raise UsageError(f"a guest can't do with {memory:g} GiB of memory", remedy="give it 4")
    return ensure_parts(progress)


def _machine(parts: Parts, memory: float) -> Machine:
    return Machine(parts.kernel, parts.data, round(memory * 1024))


@contextmanager
def _no_empty_folders(*orders: Orders) -> Iterator[None]:
    """In the end, remove what was made to be shared if no command left anything there."""
    shared = dict.fromkeys(Path(name) for each in orders for name in each.writable)
    new = [path for path in shared if not path.exists()]
    try:
        yield
    finally:
        for folder in new:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
