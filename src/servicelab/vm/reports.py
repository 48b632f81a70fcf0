"""A session in a guest tells each test's report to the session on the host, as JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from servicelab.verdict.run_facts import run_facts

if TYPE_CHECKING:
    from servicelab.report.recorder import Recorder

#: Names the run's folder, for a session whose reports go to the host.
RUN_FOLDER = "SERVICELAB_GUEST_RUN_FOLDER"
#: The file descriptor that they go to.
DESCRIPTOR = 3


def given_run_folder() -> Path | None:
    """The folder of the host's run, in a session that reports to it."""
    given = os.environ.get(RUN_FOLDER)
    return Path(given) if given else None


@dataclass(eq=False)
class Reporting:
    """The plugin of the session in the guest.

    Attributes:
        recorder: knows what was planned.
        stream: gets the lines.
    """

    recorder: Recorder
    stream: TextIO

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell that a test begins."""
        self._tell("start", {"nodeid": nodeid, "location": location})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell a test's report, once for each phase."""
        self._tell("report", report._to_json())

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Tell that a test is over."""
        self._tell("finish", {"nodeid": nodeid, "location": location})

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell what is known of the run as a whole."""
        planned = [asdict(plan) for plan in self.recorder.planned.values()]
        facts = run_facts(session.config).to_dict()
        self._tell("session", {"planned": planned, "facts": facts})

    def _tell(self, kind: str, content: object) -> None:
        # What a report carries is plain, but for a path here and there.
        self.stream.write(json.dumps({kind: content}, default=str) + "\n")
        self.stream.flush()


def reporting(recorder: Recorder) -> Reporting:
    """The plugin, on the descriptor that leads to the host."""
    return Reporting(recorder, os.fdopen(DESCRIPTOR, "w", encoding="utf-8"))


@dataclass(eq=False)
class Replay:
    """Tells the session on the host what a session in a guest tells, as if its tests ran here.

    Attributes:
        config: of the session on the host.
        session_told: called with what is known of the guest's run as a whole.
        whole: hold back what is told of a test until it is over, so that what other guests tell
            does not come in between.
    """

    config: pytest.Config
    session_told: Callable[[Mapping[str, Any]], None]
    whole: bool = False
    _held: list[tuple[str, Any]] = field(default_factory=list)

    def take(self, line: bytes) -> None:
        """Take one line."""
        try:
            told = json.loads(line)
        except ValueError:
            return  # The guest was ended while it wrote.
        self._held += told.items()
        if not self.whole or not {"finish", "session"}.isdisjoint(told):
            self.flush()

    def flush(self) -> None:
        """Tell what is held back: of a guest that has ended, its last words about a test."""
        held, self._held = self._held, []
        for kind, content in held:
            self._tell(kind, content)

    def _tell(self, kind: str, content: Any) -> None:
        hook = self.config.hook
        if kind == "report":
            report = pytest.TestReport._from_json(content)
            if isinstance(report.longrepr, list):
                # Where and why a test was skipped; JSON has no tuples, and plugins insist on one.
                report.longrepr = tuple(report.longrepr)
            hook.pytest_runtest_logreport(report=report)
        elif kind == "session":
            self.session_told(content)
        else:
            called = hook.pytest_runtest_logstart
            if kind == "finish":
                called = hook.pytest_runtest_logfinish
            called(nodeid=content["nodeid"], location=tuple(content["location"]))
