"""The labs' fixtures: a namespace for each test, or one that several tests only look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.lab.lab import Lab

#: The labs that stand for a test, or for the tests of a module.
OPEN_LABS = pytest.StashKey["list[Lab]"]()


def shared(fixture_name: str, config: pytest.Config) -> Literal["module", "function"]:
    """The scope of what tests only look at: a module's; each test's own while refuting."""
    return "function" if config.getoption("refute", None) else "module"


def _title(request: pytest.FixtureRequest) -> str:
    from servicelab.verdict.claims import claim_of

    node = request.node
    mark = claim_of(node) if isinstance(node, pytest.Item) else None
    return f"{request.path.parent.name}-{mark.id if mark else request.path.stem}"


def _lab(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Lab]:
    from servicelab.lab.lab import Lab
    from servicelab.verdict.refuter import refuter_for

    item = request.node if isinstance(request.node, pytest.Item) else None
    refuter = refuter_for(item) if item else None
    lab = Lab(cluster, request.path.parent, _title(request), refuter.fault() if refuter else None)
    open_labs = request.node.stash.setdefault(OPEN_LABS, [])
    open_labs.append(lab)
    yield lab
    open_labs.remove(lab)
    lab.close()


@pytest.fixture
def lab(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Lab]:
    """A namespace of the test's own."""
    yield from _lab(request, cluster)


@pytest.fixture(scope=shared)
def shared_lab(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Lab]:
    """A namespace that the tests of a file share; they change nothing in it."""
    yield from _lab(request, cluster)
