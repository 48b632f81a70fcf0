"""The column's tests in parts, one for each guest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from servicelab.report.results import PlannedTest
from servicelab.verdict.claims import claim_of
from servicelab.verdict.selection import CLAIM_TEST, is_disruptive, mode_of

#: Seconds that a test takes in a guest, with its fixtures: the mean there on two cores.
ORDINARY = 20.0
#: One that is marked `slow` or `disruptive`. Their mean is 100, but they differ: of 100, 120 and
#: 160 the last came closest to halving the column.
LONG = 160.0
#: Seconds until a guest has a cluster: a second guest is to spare more than it costs.
CLUSTER = 85.0
#: What stands for longer than a module.
WIDE = ("package", "session")


@dataclass(frozen=True, slots=True)
class GuestTest:
    """A test that runs in a guest.

    Attributes:
        plan: what is known of it.
        module: the file that it is in, as its node id says; its tests share fixtures.
        shares: fixtures that a lab's modules share.
        seconds: what it may take there.
    """

    plan: PlannedTest
    module: str
    shares: tuple[str, ...] = ()
    seconds: float = ORDINARY

    def to_dict(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> GuestTest:
        """From what another process told."""
        plan = PlannedTest(**told["plan"])
        return cls(plan, told["module"], tuple(told["shares"]), told["seconds"])


@dataclass(frozen=True, slots=True)
class Part:
    """What one guest runs.

    Attributes:
        tests: by node id, in the session's order.
        modules: all that they are in; none of them is in another part.
    """

    tests: Mapping[str, GuestTest]
    modules: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """What its tests may take."""
        return sum(test.seconds for test in self.tests.values())


def guest_test(item: pytest.Item) -> GuestTest:
    """What is known of a test before it runs."""
    of = test.of if (test := item.stash.get(CLAIM_TEST, None)) else 1
    mark = claim_of(item)
    long = is_disruptive(item) or item.get_closest_marker("slow") is not None
    return GuestTest(
        PlannedTest(item.nodeid, mark.id if mark else "", mode_of(item), of),
        item.nodeid.partition("::")[0],
        _shared_by_modules(item),
        LONG if long else ORDINARY,
    )


def parts_for(tests: Iterable[GuestTest], *, wanted: int | None, room: int) -> list[Part]:
    """The parts, as many as pay.

    Args:
        tests: all of them, in the session's order.
        wanted: how many there are to be, as far as what the tests share allows it; None for as
            many as there is room for, if that spares more time than it costs.
        room: for how many guests.
    """
    given = list(tests)
    if wanted is not None:
        return split(given, wanted)
    parts = split(given, room)
    spared = sum(part.seconds for part in parts) - max(part.seconds for part in parts)
    return parts if spared >= CLUSTER else split(given, 1)


def split(tests: Sequence[GuestTest], most: int) -> list[Part]:
    """Split tests so that each part takes about as long; what shares a fixture stays together.

    The longest first, each to the part that has least so far; the same tests always give the same
    parts.

    Args:
        tests: in the session's order.
        most: how many parts there may be; there are fewer if there is nothing for one.
    """
    parts: list[list[GuestTest]] = [[] for _ in range(most)]
    for unit in sorted(_units(tests), key=_seconds, reverse=True):
        min(parts, key=_seconds).extend(unit)
    order = {test.plan.nodeid: number for number, test in enumerate(tests)}
    return [
        Part(
            {
                test.plan.nodeid: test
                for test in sorted(part, key=lambda test: order[test.plan.nodeid])
            },
            tuple(sorted({test.module for test in part})),
        )
        for part in parts
        if part
    ]


def _units(tests: Sequence[GuestTest]) -> list[list[GuestTest]]:
    """Tests that must be in one guest, unit by unit."""
    units: list[tuple[set[str], list[GuestTest]]] = []
    for test in tests:
        # A module's name is never one of a fixture: that begins with "@".
        ties, together = {test.module, *(f"@{name}" for name in test.shares)}, [test]
        for unit in [unit for unit in units if unit[0] & ties]:
            units.remove(unit)
            ties, together = ties | unit[0], unit[1] + together
        units.append((ties, together))
    return [together for _, together in units]


def _seconds(tests: Sequence[GuestTest]) -> float:
    return sum(test.seconds for test in tests)


def _shared_by_modules(item: pytest.Item) -> tuple[str, ...]:
    """Fixtures of the lab's own that stand for longer than a module, such as an installation.

    Those of servicelab itself are made in each guest, as the cluster is.
    """
    info = getattr(item, "_fixtureinfo", None)
    found = info.name2fixturedefs.items() if info else ()
    return tuple(
        f"{definition.baseid}::{name}"
        for name, definitions in sorted(found)
        for definition in definitions
        if definition.scope in WIDE and definition.baseid not in ("", ".")
    )
