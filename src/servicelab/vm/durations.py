"""How long tests took in a guest, kept in pytest's cache: the next run splits its column by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from servicelab.vm.split import GuestTest

#: The entry of pytest's cache; of all runs in this checkout.
ENTRY = "servicelab/guest_seconds"


@dataclass(eq=False)
class Durations:
    """The plugin, while guests tell their reports.

    Attributes:
        cache: pytest's; None if it is switched off.
        phases: seconds by node id and phase, of what was told.
    """

    cache: pytest.Cache | None
    phases: dict[str, dict[str, float]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take down how long a phase took."""
        assert report.when
        self.phases.setdefault(report.nodeid, {})[report.when] = report.duration

    def known(self, tests: Iterable[GuestTest]) -> list[GuestTest]:
        """The tests, each with what it took the last time; else with what it had."""
        kept = self._kept()
        return [replace(test, seconds=kept.get(test.plan.nodeid, test.seconds)) for test in tests]

    def keep(self) -> None:
        """For the next run, beside what others took down.

        With the fixtures that were made for it; a test that one of them failed for says nothing.
        """
        took = {
            nodeid: round(sum(phases.values()), 1)
            for nodeid, phases in self.phases.items()
            if "call" in phases
        }
        if self.cache is not None and took:
            self.cache.set(ENTRY, {**self._kept(), **took})

    def _kept(self) -> dict[str, float]:
        found = self.cache.get(ENTRY, {}) if self.cache is not None else {}
        # The file is the user's: what is no number of seconds is of no use.
        return {
            nodeid: float(seconds)
            for nodeid, seconds in (found.items() if isinstance(found, dict) else ())
            if isinstance(seconds, int | float)
        }
