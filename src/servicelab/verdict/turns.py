"""Under xdist: whose turn it is, where workers that share a cluster must wait for one another.

The workers share one cluster, and its proxy mode is the cluster's: nobody enters a mode while
somebody still tests in an earlier one. A test marked `disruptive` runs alone: when all tests before
it are done on all workers. Each worker gets its tests in the session's order, so it is enough that
whoever is first waits for the others.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pytest

from servicelab.errors import InfrastructureError
from servicelab.verdict import deadlines
from servicelab.verdict.message import NotProved
from servicelab.verdict.selection import is_disruptive, mode_of
from servicelab.verdict.waiting import Missing, eventually


class Turn(NamedTuple):
    """Tests that may run side by side.

    Attributes:
        mode: their proxy mode; "" for those that do not depend on one.
        alone: the only test of the turn, which disrupts the cluster; "" for all others.
    """

    mode: str
    alone: str = ""

    def __str__(self) -> str:
        return self.alone or f"the {self.mode} mode"


@dataclass(eq=False)
class Turns:
    """A plugin for xdist's workers.

    Attributes:
        folder: which all workers of the run share.
        by_nodeid: the turn of each test, in the session's order.
        before_leaving: called when this worker has done its tests of a turn: whatever it still does
            to the cluster must end there.
    """

    folder: Path
    by_nodeid: dict[str, Turn] = field(default_factory=dict)
    before_leaving: list[Callable[[], object]] = field(default_factory=list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take down whose turn comes when; every worker collects the same tests."""
        self.by_nodeid = {item.nodeid: _turn_of(item) for item in session.items}

    # A wrapper, so that it comes before whatever else sets a test up.
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Hold a test until it is its turn."""
        self.wait_for(self.by_nodeid[item.nodeid])
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, None, None]:
        """Leave nothing under way that would reach into another turn."""
        try:
            return (yield)
        finally:
            if nextitem is None or _turn_of(nextitem) != self.by_nodeid[item.nodeid]:
                for finish in self.before_leaving:
                    finish()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Tell the other workers that a test is done, its clean-up included."""
        if turn := self.by_nodeid.get(nodeid):
            # Appending one byte is atomic, so the file's size is the count.
            with self._file(turn).open("ab") as file:
                file.write(b".")

    def wait_for(self, turn: Turn) -> None:
        """Wait until all tests that must be done before a turn are done.

        Raises:
            InfrastructureError: they were not at the deadline.
        """
        earlier = self._before(turn)
        try:
            eventually(
                lambda: [f"{each}: {left} left" for each in earlier if (left := self._left(each))],
                lambda still: not still or Missing("not yet its turn"),
                deadline=deadlines.current().mode_left,
                expecting=f"the tests before {turn} to be done on all workers",
                every=0.2,
            )
        except NotProved as error:
            raise InfrastructureError(
                f"a worker could not begin {turn}: {error}",
                remedy="a worker may have crashed; run again without -n",
            ) from None

    def _before(self, turn: Turn) -> list[Turn]:
        order = list(self._tests)
        # What does not depend on the mode may take its time while the first mode begins.
        return [
            each for each in order[: order.index(turn)] if each.mode or each.alone or turn.alone
        ]

    def _left(self, turn: Turn) -> int:
        file = self._file(turn)
        return self._tests[turn] - (file.stat().st_size if file.exists() else 0)

    @cached_property
    def _tests(self) -> Counter[Turn]:
        """How many tests each turn has, all workers together, in the order of the turns."""
        return Counter(self.by_nodeid.values())

    def _file(self, turn: Turn) -> Path:
        return self.folder / f"done-in-turn-{list(self._tests).index(turn)}"


def turns_of_worker(config: pytest.Config) -> Turns | None:
    """The plugin for this process; None if it is no worker, or shares its cluster with none."""
    worker = getattr(config, "workerinput", None)
    if worker is None or config.option.cluster_per_worker:
        return None
    given = config.option.basetemp
    # xdist gives each worker a folder in one that they share.
    shared = Path(given).parent if given else Path(tempfile.gettempdir())
    folder = shared / f"servicelab-{worker['testrunuid']}"
    folder.mkdir(parents=True, exist_ok=True)
    return Turns(folder)


def _turn_of(item: pytest.Item) -> Turn:
    return Turn(mode_of(item), item.nodeid if is_disruptive(item) else "")
