"""Under xdist: no worker enters a proxy mode while another still tests in an earlier one.

The workers share one cluster, and its proxy mode is the cluster's. Each worker gets its tests in
the order of the modes, so it is enough that whoever is first waits for the others.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from servicelab.errors import InfrastructureError
from servicelab.verdict import deadlines
from servicelab.verdict.message import NotProved
from servicelab.verdict.selection import mode_of
from servicelab.verdict.waiting import Missing, eventually


@dataclass(eq=False)
class ModeTurns:
    """A plugin for xdist's workers.

    Attributes:
        modes: the proxy modes of the run, in the order in which they are entered.
        folder: which all workers of the run share.
        tests: how many tests each mode has, all workers together.
        mode_by_nodeid: the mode of each test that has one.
    """

    modes: Sequence[str]
    folder: Path
    tests: Counter[str] = field(default_factory=Counter)
    mode_by_nodeid: dict[str, str] = field(default_factory=dict)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests of each mode; every worker collects them all."""
        self.mode_by_nodeid = {
            item.nodeid: mode for item in session.items if (mode := mode_of(item))
        }
        self.tests = Counter(self.mode_by_nodeid.values())

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> None:
        """Hold the fixture that enters a mode until it is its turn."""
        if fixturedef.argname == "proxy_mode":
            self.wait_for_turn(str(request.param))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Tell the other workers that a test is done, its clean-up included."""
        if mode := self.mode_by_nodeid.get(nodeid):
            # Appending one byte is atomic, so the file's size is the count.
            with self._file(mode).open("ab") as file:
                file.write(b".")

    def wait_for_turn(self, mode: str) -> None:
        """Wait until all tests of the earlier modes are done.

        Raises:
            InfrastructureError: they were not at the deadline.
        """
        earlier = self.modes[: self.modes.index(mode)]
        try:
            eventually(
                lambda: [f"{name}: {left} left" for name in earlier if (left := self._left(name))],
                lambda still: not still or Missing("not yet this mode's turn"),
                deadline=deadlines.current().mode_left,
                expecting=f"the tests of the modes before {mode} to be done on all workers",
                every=0.2,
            )
        except NotProved as error:
            raise InfrastructureError(
                f"a worker could not enter the {mode} mode: {error}",
                remedy="a worker may have crashed; run again without -n",
            ) from None

    def _left(self, mode: str) -> int:
        file = self._file(mode)
        return self.tests[mode] - (file.stat().st_size if file.exists() else 0)

    def _file(self, mode: str) -> Path:
        return self.folder / f"done-in-{mode}"


def mode_turns(config: pytest.Config, modes: Sequence[str]) -> ModeTurns | None:
    """The plugin for this process; None if it is no worker, or if there is but one mode."""
    worker = getattr(config, "workerinput", None)
    if worker is None or len(modes) < 2:
        return None
    given = config.option.basetemp
    # xdist gives each worker a folder in one that they share.
    shared = Path(given).parent if given else Path(tempfile.gettempdir())
    folder = shared / f"servicelab-{worker['testrunuid']}"
    folder.mkdir(parents=True, exist_ok=True)
    return ModeTurns(modes, folder)
