"""Which tests run: claims by proxy modes, in an order that enters each mode once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from servicelab.errors import UsageError
from servicelab.verdict.catalogue import (
    FILE_NAME,
    Catalogue,
    Claim,
    catalogue_above,
    read_catalogue,
)
from servicelab.verdict.claims import ClaimMark, claim_of
from servicelab.verdict.refuter import REFUTERS

SLOW = "slow: left out by --no-slow"
DISRUPTIVE = "disruptive: left out by --no-disruptive"
#: The fixture that proves the cluster restored after a disruptive test.
RESTORED = "restored_cluster"
_WIDE = ("session", "package")
NO_REFUTER = "no refuter: nothing shows that this test can fail"


@dataclass(frozen=True, slots=True)
class ClaimTest:
    """What a claim's test stands for.

    Attributes:
        mark: its marker.
        catalogue: of its lab; None if there is no claims.toml above it.
        mode: the proxy mode it runs in.
        of: how many tests its claim has in this mode, selected or not.
    """

    mark: ClaimMark
    catalogue: Catalogue | None
    mode: str
    of: int


#: Which claim a collected test proves; only claims' tests have it.
CLAIM_TEST = pytest.StashKey[ClaimTest]()


@dataclass(eq=False)
class Selection:
    """Generates each claim's test in the chosen modes, and puts all in order.

    Attributes:
        modes: the proxy modes of the run.
        run_slow: are tests marked `slow` to be run?
        run_disruptive: are tests marked `disruptive` to be run?
        found: how many tests each claim has, by catalogue, id and mode.
    """

    modes: Sequence[str]
    run_slow: bool = True
    run_disruptive: bool = True
    found: Counter[tuple[Path | None, str, str]] = field(default_factory=Counter)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run whatever uses the proxy mode in each chosen one."""
        test = metafunc.definition
        try:
            mark = claim_of(test)
            catalogue = catalogue_above(test.path, root=test.config.rootpath)
            if mark:
                _check(test, mark, catalogue)
        except UsageError as error:
            pytest.fail(str(error), pytrace=False)
        if mark:
            path = catalogue.path if catalogue else None
            self.found.update((path, mark.id, mode) for mode in mark.modes or self.modes)
        if "proxy_mode" in metafunc.fixturenames:
            metafunc.parametrize("proxy_mode", list(self.modes), indirect=True, scope="session")

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Let `-k CIP-04` choose a claim's tests; have the cluster proved restored where needed."""
        if mark := claim_of(item):
            item.extra_keyword_matches.add(mark.id)
        fixtures: list[str] = getattr(item, "fixturenames", [])
        if is_disruptive(item) and "cluster" in fixtures and RESTORED not in fixtures:
            # Before the test's own fixtures, so that it ends after them: they put things back. And
            # after those of the session, whose changes outlast the test.
            after = next(
                (at for at, name in enumerate(fixtures) if _scope(item, name) not in _WIDE),
                len(fixtures),
            )
            fixtures.insert(max(after, fixtures.index("cluster") + 1), RESTORED)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave out claims that are not for a mode, and enter each mode once."""
        refuters = config.stash.get(REFUTERS, None)
        kept: list[pytest.Item] = []
        for item in items:
            mark = claim_of(item)
            if mark and not self._take_in(item, mark):
                continue
            if mark and refuters is not None and mark.id not in refuters:
                item.add_marker(pytest.mark.skip(reason=NO_REFUTER))
            if not self.run_slow and item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason=SLOW))
            if not self.run_disruptive and is_disruptive(item):
                item.add_marker(pytest.mark.skip(reason=DISRUPTIVE))
            kept.append(item)
        # Tests without a mode come first: they may not need a cluster at all.
        items[:] = sorted(kept, key=self._rank)

    def without_test(self, config: pytest.Config) -> list[str]:
        """Claims without a test, of labs whose tests have all been collected."""
        claimed = {id_ for _, id_, _ in self.found}
        return [
            claim.id
            for claim in _claims_in_full(config)
            if claim.id not in claimed and set(claim.modes) & set(self.modes)
        ]

    def for_other_modes(self, config: pytest.Config) -> list[str]:
        """Claims that are for none of the run's modes, of labs that are run in full."""
        return [
            claim.id for claim in _claims_in_full(config) if not set(claim.modes) & set(self.modes)
        ]

    def _take_in(self, item: pytest.Item, mark: ClaimMark) -> bool:
        mode = mode_of(item)
        catalogue = catalogue_above(item.path, root=item.config.rootpath)
        claim = catalogue.claims.get(mark.id) if catalogue else None
        if (claim and mode not in claim.modes) or (mark.modes and mode not in mark.modes):
            return False
        of = self.found[catalogue.path if catalogue else None, mark.id, mode]
        item.stash[CLAIM_TEST] = ClaimTest(mark, catalogue, mode, of)
        item.user_properties += [("claim", mark.id), ("proxy_mode", mode)]
        return True

    def _rank(self, item: pytest.Item) -> tuple[int, bool]:
        mode = mode_of(item)
        # What disrupts the cluster comes last in its mode: it can't spoil the others' results.
        return self.modes.index(mode) + 1 if mode in self.modes else 0, is_disruptive(item)


def mode_of(item: pytest.Item) -> str:
    """The proxy mode a test runs in; "" if it does not depend on one."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("proxy_mode", "")) if callspec else ""


def is_disruptive(item: pytest.Item) -> bool:
    """Does the test take something away from the whole cluster for a while?"""
    return item.get_closest_marker("disruptive") is not None


def _claims_in_full(config: pytest.Config) -> list[Claim]:
    """The claims of the labs that are run in full."""
    if any(config.getoption(name, None) for name in ("keyword", "markexpr", "lf", "deselect")):
        return []
    return [claim for catalogue in catalogues_below(config) for claim in catalogue.claims.values()]


def catalogues_below(config: pytest.Config) -> list[Catalogue]:
    """The catalogues of the labs that the command line names in full.

    A folder named there is a lab itself, or holds labs, or holds the folder labs/.

    Raises:
        UsageError: one of them is wrong.
    """
    found: dict[Path, None] = {}
    for path, rest in _arguments(config):
        if path.is_dir() and not rest:
            for pattern in (FILE_NAME, f"*/{FILE_NAME}", f"labs/*/{FILE_NAME}"):
                found |= dict.fromkeys(sorted(path.glob(pattern)))
    return [read_catalogue(path) for path in found]


def check_catalogues(config: pytest.Config) -> None:
    """Read the catalogues of all that the command line names.

    Raises:
        UsageError: one of them is wrong.
    """
    catalogues_below(config)
    for path, _ in _arguments(config):
        catalogue_above(path, root=config.rootpath)


def _arguments(config: pytest.Config) -> list[tuple[Path, str]]:
    parts = [argument.partition("::") for argument in config.args]
    return [((config.invocation_params.dir / path).absolute(), rest) for path, _, rest in parts]


def _scope(item: pytest.Item, fixture: str) -> str:
    """How long a fixture lives that the item asks for; those of pytest itself live for the test."""
    info = getattr(item, "_fixtureinfo", None)
    found = info.name2fixturedefs.get(fixture) if info else None
    return str(found[-1].scope) if found else "function"


def _check(test: pytest.Item, mark: ClaimMark, catalogue: Catalogue | None) -> None:
    if catalogue and mark.id not in catalogue.claims:
        raise UsageError(
            f"{test.nodeid} proves {mark.id}, which {catalogue.path} does not list",
            remedy=f"add [{mark.id}] there, or mend the marker",
        )
    if "proxy_mode" not in getattr(test, "fixturenames", ()):
        raise UsageError(
            f"{test.nodeid} proves {mark.id} without asking a cluster",
            remedy="use the fixture `lab`, `cluster` or `proxy_mode`",
        )
