"""IPVS' column of the claim matrix from a guest, where this machine's kernel has no ip_vs.

The same pytest command runs there, for that mode alone; each report comes over as the test ends,
and counts as if the test had run here.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from servicelab.cache import state_root
from servicelab.errors import ServicelabError
from servicelab.progress import Progress
from servicelab.report.recorder import Recorder
from servicelab.report.results import PlannedTest
from servicelab.report.uncaptured import Uncaptured
from servicelab.verdict.run_facts import run_facts
from servicelab.verdict.selection import CLAIM_TEST, mode_of
from servicelab.vm.orders import IN_GUEST
from servicelab.vm.reports import RUN_FOLDER, Replay
from servicelab.vm.running import Ended, run_in_guest
from servicelab.vm.streams import Sinks

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
    "--deadline-factor": 1,
    "-n": 1,
    "--numprocesses": 1,
    "--dist": 1,
}
STDERR = 2
#: Where a worker of xdist writes down what it left out.
LEFT_OUT = "servicelab_left_out"


class Runs(Protocol):
    """Runs a command in a guest; `run_in_guest` does."""

    def __call__(
        self,
        command: Sequence[str],
        *,
        writable: Sequence[Path],
        progress: Progress,
        sinks: Sinks,
        env: Mapping[str, str],
    ) -> Ended: ...


@dataclass(eq=False)
class GuestColumn:
    """The plugin of the session on the host.

    Attributes:
        recorder: gets the results.
        runs: runs the command.
        left_out: the tests that run there.
    """

    recorder: Recorder
    runs: Runs = run_in_guest
    left_out: dict[str, PlannedTest] = field(default_factory=dict)
    _told: bool = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what runs in the guest."""
        there = [item for item in items if _needs_ipvs(item)]
        items[:] = [item for item in items if not _needs_ipvs(item)]
        for item in there:
            test = item.stash.get(CLAIM_TEST, None)
            claim, of = (test.mark.id, test.of) if test else ("", 1)
            self.left_out[item.nodeid] = PlannedTest(item.nodeid, claim, MODE, of)

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
            output[LEFT_OUT] = [asdict(plan) for plan in self.left_out.values()]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """The controller hears of it as the worker ends."""
        told = getattr(node, "workeroutput", {}).get(LEFT_OUT, ())
        self.left_out |= {plan["nodeid"]: PlannedTest(**plan) for plan in told}

    def _run(self, session: pytest.Session) -> None:
        config = session.config
        progress = Progress(stream=Uncaptured(config))
        progress.say("this kernel has no ip_vs: the tests of IPVS mode run in a guest that has it")
        folder = self.recorder.run_folder
        assert folder is not None
        log = state_root() / "logs" / "guest-session.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        replay = Replay(config, self._take_over(config))
        capture = config.pluginmanager.getplugin("capturemanager")
        try:
            with log.open("wb") as out, capture.global_and_fixture_disabled():
                ended = self.runs(
                    command(config),
                    writable=[folder.path],
                    progress=progress,
                    sinks=Sinks(out.fileno(), STDERR, replay.take),
                    env={**os.environ, RUN_FOLDER: str(folder.path)},
                )
        except ServicelabError as error:
            self._not_run(str(error))
            return
        if signal.SIGINT in ended.signals or signal.SIGTERM in ended.signals:
            raise KeyboardInterrupt
        if not self._told:
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            self._not_run(
                f"the session in the guest ended with {ended.code} and said: {last[0]}; see {log}"
            )

    def _take_over(self, config: pytest.Config) -> Any:
        def take(content: Mapping[str, Any]) -> None:
            self._told = True
            here = run_facts(config).to_dict()
            run_facts(config).learn(**content["facts"])
            run_facts(config).learn(**here)
            planned = (PlannedTest(**plan) for plan in content["planned"])
            self.recorder.planned |= {plan.nodeid: plan for plan in planned}

        return take

    def _not_run(self, sentence: str) -> None:
        key = ("infrastructure", sentence)
        done = self.recorder.done
        left = [nodeid for nodeid in self.left_out if nodeid not in done]
        self.recorder.stopped.setdefault(key, []).extend(left)
        self.recorder.planned |= {
            nodeid: plan for nodeid, plan in self.left_out.items() if plan.claim
        }


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
    return [sys.executable, "-m", "pytest", *arguments, f"--proxy-mode={MODE}", factor]


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


def _needs_ipvs(item: pytest.Item) -> bool:
    return mode_of(item) == MODE and "kind_cluster" in getattr(item, "fixturenames", ())
