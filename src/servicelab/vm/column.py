"""IPVS' column of the claim matrix from a guest, where this machine's kernel has no ip_vs.

The same pytest command runs there, for that mode alone; each report comes over as the test ends,
and counts as if the test had run here. Where there is room for two guests, each runs a part.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any, Protocol

import pytest

from servicelab.errors import ServicelabError
from servicelab.progress import Progress
from servicelab.report.recorder import Recorder
from servicelab.report.uncaptured import Uncaptured
from servicelab.verdict.selection import mode_of
from servicelab.vm.durations import Durations
from servicelab.vm.orders import IN_GUEST
from servicelab.vm.part import MODULES
from servicelab.vm.reports import RUN_FOLDER
from servicelab.vm.room import room_for_guests
from servicelab.vm.running import Ended, Errand, run_in_guests
from servicelab.vm.split import GuestTest, Part, guest_test, parts_for
from servicelab.vm.stay import Stay

MODE = "ipvs"
#: So much longer a guest may take for everything: it has one processor, and each of its system
#: calls costs several of the host's.
SLOWER = 6.0
#: Options that are the host's business, with their number of values.
HOSTS_OWN = {
    "--proxy-mode": 1,
    "--claims-json": 1,
    "--report-dir": 1,
    "--junitxml": 1,
    "--junit-xml": 1,
    "--keep-cluster": 0,
    "--guests": 1,
    "--cluster-per-worker": 0,
    "--deadline": 1,
    "--deadline-factor": 1,
    "-n": 1,
    "--numprocesses": 1,
    "--dist": 1,
}
#: Where a worker of xdist writes down what it left out.
LEFT_OUT = "servicelab_left_out"


class Runs(Protocol):
    """Runs commands in guests; `run_in_guests` does."""

    def __call__(
        self, errands: Sequence[Errand], *, writable: Sequence[Path], progress: Progress
    ) -> Sequence[Ended | ServicelabError]: ...


@dataclass(eq=False)
class GuestColumn:
    """The plugin of the session on the host.

    Attributes:
        recorder: gets the results.
        runs: runs the commands.
        room: says for how many guests there is room.
        left_out: the tests that run there, by node id.
    """

    recorder: Recorder
    runs: Runs = run_in_guests
    room: Callable[[], int] = room_for_guests
    left_out: dict[str, GuestTest] = field(default_factory=dict)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what runs in the guest."""
        there = [item for item in items if _needs_ipvs(item)]
        items[:] = [item for item in items if not _needs_ipvs(item)]
        self.left_out |= {item.nodeid: guest_test(item) for item in there}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Run what was left out, after all that runs here."""
        result = yield
        config = session.config
        ends = session.shouldstop or session.shouldfail or config.option.collectonly
        if not ends and self.left_out and not hasattr(config, "workerinput"):
            session.testscollected += len(self.left_out)
            self._run(session)
        return result

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Under xdist, a worker tells what it left out: the controller collects nothing itself."""
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[LEFT_OUT] = [test.to_dict() for test in self.left_out.values()]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """The controller hears of it as the worker ends."""
        told = getattr(node, "workeroutput", {}).get(LEFT_OUT, ())
        tests = (GuestTest.from_dict(each) for each in told)
        self.left_out |= {test.plan.nodeid: test for test in tests}

    def _run(self, session: pytest.Session) -> None:
        config = session.config
        plans = (test.plan for test in self.left_out.values())
        self.recorder.planned |= {plan.nodeid: plan for plan in plans if plan.claim}
        wanted = config.option.guests
        room = self.room() if wanted is None else wanted
        durations = Durations(getattr(config, "cache", None))
        parts = parts_for(durations.known(self.left_out.values()), wanted=wanted, room=room)
        progress = Progress(stream=Uncaptured(config))
        progress.say(_announced(parts))
        stays = self._stays(session, parts)
        config.pluginmanager.register(durations)
        outcomes = self._outcomes(config, stays, progress)
        config.pluginmanager.unregister(durations)
        durations.keep()
        for stay, outcome in zip(stays, outcomes, strict=True):
            stay.ended(outcome)
        if any(isinstance(outcome, Ended) and outcome.interrupted for outcome in outcomes):
            raise KeyboardInterrupt

    def _stays(self, session: pytest.Session, parts: Sequence[Part]) -> list[Stay]:
        stays: list[Stay] = []
        lock = RLock()

        def heard() -> None:
            # `-x` counts all failures of the run, wherever they happen.
            if session.shouldfail or session.shouldstop:
                for stay in stays:
                    stay.stop()

        for number, part in enumerate(parts, 1):
            name = f"guest {number}" if len(parts) > 1 else ""
            stays.append(Stay(session, self.recorder, part, name, lock, heard))
        return stays

    def _outcomes(
        self, config: pytest.Config, stays: Sequence[Stay], progress: Progress
    ) -> Sequence[Ended | ServicelabError]:
        folder = self.recorder.run_folder
        assert folder is not None
        env = {**os.environ, RUN_FOLDER: str(folder.path)}
        capture = config.pluginmanager.getplugin("capturemanager")
        with ExitStack() as stack:
            errands = []
            for stay in stays:
                own = {MODULES: json.dumps(stay.part.modules)} if len(stays) > 1 else {}
                entered = stack.enter_context(stay.errand_for(command(config), {**env, **own}))
                errands.append(entered)
            stack.enter_context(capture.global_and_fixture_disabled())
            try:
                return self.runs(errands, writable=[folder.path], progress=progress)
            except ServicelabError as error:
                return [error] * len(stays)


def column_for(config: pytest.Config, modes: Iterable[str], recorder: Recorder) -> object | None:
    """The plugin, where IPVS is asked for and only a guest has it."""
    can = platform.machine() == "x86_64" and os.geteuid() == 0 and IN_GUEST not in os.environ
    ours = not config.getoption("context", None) and config.getoption("guest", True)
    if MODE not in modes or not can or not ours:
        return None
    from servicelab.doctor.kernel import missing_for_ipvs

    return GuestColumn(recorder) if missing_for_ipvs() else None


def command(config: pytest.Config) -> list[str]:
    """The session's command, for IPVS mode alone."""
    arguments = without(HOSTS_OWN, [str(word) for word in config.invocation_params.args])
    factor = f"--deadline-factor={config.option.deadline_factor * SLOWER:g}"
    # What is given in seconds is meant for this machine.
    given = (setting.split("=", 1) for setting in config.option.deadline)
    times = (f"--deadline={name}={float(seconds) * SLOWER:g}" for name, seconds in given)
    return [sys.executable, "-m", "pytest", *arguments, f"--proxy-mode={MODE}", factor, *times]


def without(options: Mapping[str, int], arguments: Sequence[str]) -> list[str]:
    """Arguments without some options, in any of the forms that pytest reads.

    Args:
        options: how many values each takes.
        arguments: as they stand on a command line.
    """
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, _ = word.partition("=")
        if name in options:
            if options[name] and not equals:
                next(words, None)
        elif not _is_short(word, options):
            kept.append(word)
    return kept


def _is_short(word: str, options: Mapping[str, int]) -> bool:
    """Is it such as -n2, an option of one letter with its value?"""
    return len(word) > 2 and word[1] != "-" and bool(options.get(word[:2]))


def _announced(parts: Sequence[Part]) -> str:
    lacking = "this kernel has no ip_vs: the tests of IPVS mode run in"
    if len(parts) == 1:
        return f"{lacking} a guest that has it"
    counts = " and ".join(str(len(part.tests)) for part in parts)
    return f"{lacking} {len(parts)} guests that have it, {counts} of them side by side"


def _needs_ipvs(item: pytest.Item) -> bool:
    return mode_of(item) == MODE and "kind_cluster" in getattr(item, "fixturenames", ())
