"""Once the session's cluster was replaced: whatever rests on it is set up anew.

A cluster that a disruptive test left broken is deleted, by this process or by another xdist worker.
The fixtures of the session that rest on it must not be used any more.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

CLUSTER = "kind_cluster"


class Renewal:
    """A plugin: ends the fixture `kind_cluster`, and all that rest on it, once it was replaced."""

    def __init__(self) -> None:
        self._made: tuple[pytest.FixtureDef[Any], Any] | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Take down which cluster the session uses."""
        made = yield
        if fixturedef.argname == CLUSTER:
            self._made = (fixturedef, request)
        return made

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """End the fixture if its cluster was replaced; the test's set-up makes it again."""
        if self._made is None:
            return
        fixturedef, request = self._made
        cached = fixturedef.cached_result
        if cached is not None and getattr(cached[0], "replaced", False):
            self._made = None
            fixturedef.finish(request)
