"""In a guest's session: of all that its command selects, only the modules of its own part run."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass

import pytest

#: Names the modules, for a session that runs a part of a column.
MODULES = "SERVICELAB_GUEST_MODULES"


@dataclass(eq=False)
class OwnPart:
    """The plugin.

    Attributes:
        modules: the files whose tests run here, as node ids name them.
    """

    modules: Collection[str]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out the others without a word: they are not deselected, another guest has them."""
        items[:] = [item for item in items if item.nodeid.partition("::")[0] in self.modules]


def part_of_environment() -> OwnPart | None:
    """The plugin; None if the session runs all that its command selects."""
    given = os.environ.get(MODULES)
    return OwnPart(frozenset(json.loads(given))) if given else None
