"""One part of the column in one guest: what it tells, and how it ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from servicelab.cache import state_root
from servicelab.errors import ServicelabError
from servicelab.report.recorder import Recorder
from servicelab.report.results import PlannedTest
from servicelab.verdict.run_facts import run_facts
from servicelab.vm.reports import Replay
from servicelab.vm.running import Ended, Errand
from servicelab.vm.split import Part
from servicelab.vm.streams import Sinks, lines_to

STDERR = 2


@dataclass(eq=False)
class Stay:
    """A part in its guest.

    Attributes:
        session: on the host.
        recorder: gets what came of the tests.
        part: the tests.
        name: what the guest is called in front of what its session says; "" if it is the only one.
        lock: held while anything is told to the session, by whichever guest.
        heard: called after each line of its, with the lock held.
        failed: how many failures it told.
        errand: what its guest is to do, while `errand_for` lasts.
    """

    session: pytest.Session
    recorder: Recorder
    part: Part
    name: str
    lock: AbstractContextManager[Any]
    heard: Callable[[], None]
    failed: int = 0
    errand: Errand | None = None
    _told: bool = False
    _refused: str = ""
    _replay: Replay = field(init=False)

    def __post_init__(self) -> None:
        self._replay = Replay(self.session.config, self._session_told, whole=bool(self.name))

    @property
    def log(self) -> Path:
        """What the session in the guest prints."""
        return state_root() / "logs" / f"{'-'.join(['guest-session', *self.name.split()[1:]])}.log"

    @contextmanager
    def errand_for(self, command: Sequence[str], env: Mapping[str, str]) -> Iterator[Errand]:
        """What its guest is to do; what it prints is passed on meanwhile.

        Args:
            command: the session's command.
            env: the session's environment.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log, self._stderr() as stderr:
            self.errand = Errand(command, Sinks(log.fileno(), stderr, self.take), env)
            yield self.errand

    def take(self, line: bytes) -> None:
        """Take a line that the guest's session tells."""
        with self.lock:
            before = self.session.testsfailed
            try:
                self._replay.take(line)
            except Exception as error:  # noqa: BLE001 - some plugin's; what follows still counts
                self._refused = f"{type(error).__name__}: {error}".removesuffix(": ")
            self.failed += self.session.testsfailed - before
            self.heard()

    def stop(self) -> None:
        """Let the session in the guest end, as on Ctrl-C, unless it does so by itself."""
        if self.errand is not None and not self._stops_itself:
            self.errand.reins.stop()

    def ended(self, outcome: Ended | ServicelabError) -> None:
        """Take down how it ended.

        Args:
            outcome: how; or what made it impossible.
        """
        with self.lock:
            self._replay.flush()
        if self._refused:
            self._not_run(f"a plugin here could not take what the guest told: {self._refused}")
        if isinstance(outcome, ServicelabError):
            self._not_run(str(outcome))
        elif not self._told and not outcome.interrupted and not self._was_stopped:
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            self._not_run(
                f"the session in the guest ended with {outcome.code} and said: {last[0]}; "
                f"see {self.log}"
            )

    @property
    def _stops_itself(self) -> bool:
        """Has it had as many failures as `--maxfail` allows?"""
        most = self.session.config.getvalue("maxfail")
        return bool(most) and self.failed >= most

    @property
    def _was_stopped(self) -> bool:
        return self.errand is not None and self.errand.reins.stopped

    @contextmanager
    def _stderr(self) -> Iterator[int]:
        if not self.name:
            yield STDERR
        else:
            with lines_to(self._say) as into:
                yield into

    def _say(self, line: bytes) -> None:
        if not line.strip():
            return
        text = f"{self.name}: ".encode() + line + b"\n"
        with self.lock:
            # Not behind the dots of a file's tests.
            if reporter := self.session.config.pluginmanager.getplugin("terminalreporter"):
                reporter.ensure_newline()
                reporter.flush()
            with suppress(OSError):
                os.write(STDERR, text)

    def _session_told(self, content: Mapping[str, Any]) -> None:
        self._told = True
        facts = run_facts(self.session.config)
        here = facts.to_dict()
        facts.learn(**content["facts"])
        facts.learn(**here)
        planned = (PlannedTest(**plan) for plan in content["planned"])
        self.recorder.planned |= {plan.nodeid: plan for plan in planned}

    def _not_run(self, sentence: str) -> None:
        left = [nodeid for nodeid in self.part.tests if nodeid not in self.recorder.done]
        self.recorder.stopped.setdefault(("infrastructure", sentence), []).extend(left)
