"""The column in parts: no test lost, none doubled, and what shares a fixture together."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from servicelab.report.results import PlannedTest
from servicelab.vm import room
from servicelab.vm.durations import ENTRY, Durations
from servicelab.vm.part import MODULES, OwnPart, part_of_environment
from servicelab.vm.split import CLUSTER, LONG, GuestTest, Part, parts_for, split


def made_of(module: str, count: int, *shares: str, seconds: float = 30.0) -> list[GuestTest]:
    """Tests of a module, with brackets in their node ids."""
    return [
        GuestTest(
            PlannedTest(f"{module}::test[ipvs-a::b[{number}]]", "CIP-01", "ipvs", 1),
            module,
            shares,
            seconds,
        )
        for number in range(count)
    ]


def sizes(parts: Sequence[Part]) -> list[int]:
    return [len(part.tests) for part in parts]


@pytest.mark.parametrize("seed", range(50))
def test_each_test_is_in_one_part(seed: int) -> None:
    """Whatever the tests are; and so is each module, and whatever shares a fixture of a lab."""
    luck = random.Random(seed)
    given: list[GuestTest] = []
    for number in range(luck.randint(1, 30)):
        lab = luck.choice("abcd")
        shares = luck.sample([f"labs/{lab}::x", f"labs/{lab}::y"], luck.randint(0, 2))
        module = f"labs/{lab}/test_{number}.py"
        for test in made_of(module, luck.randint(1, 9), *shares, seconds=luck.choice([30.0, LONG])):
            # Some of a module's tests share nothing.
            alone = luck.random() < 0.5
            given.append(GuestTest(test.plan, module, () if alone else test.shares, test.seconds))
    luck.shuffle(given)

    parts = split(given, most := luck.randint(1, 4))

    assert 1 <= len(parts) <= most
    found = [nodeid for part in parts for nodeid in part.tests]
    assert sorted(found) == sorted(test.plan.nodeid for test in given)
    for each in ({test.module for test in given}, {name for test in given for name in test.shares}):
        for tie in each:
            holding = [
                part
                for part in parts
                if any(tie in (test.module, *test.shares) for test in part.tests.values())
            ]
            assert len(holding) == 1
    for part in parts:
        assert set(part.modules) == {test.module for test in part.tests.values()}
        assert list(part.tests) == [
            test.plan.nodeid for test in given if test.plan.nodeid in part.tests
        ]


def test_the_parts_take_about_as_long() -> None:
    """By what the tests cost, not by their number; the same each time."""
    given = [
        *made_of("a.py", 3, seconds=90.0),
        *(test for module in "bcdefg" for test in made_of(f"{module}.py", 2)),
    ]

    parts = split(given, 2)

    assert sizes(parts) == [5, 10]
    assert [part.seconds for part in parts] == [330.0, 300.0]
    assert split(given, 2) == parts


def test_what_a_labs_modules_share_stays_together() -> None:
    """An installation is made once, also where a module needs two of them."""
    given = [
        *made_of("m/a.py", 3, "m::x"),
        *made_of("m/b.py", 3, "m::y"),
        *made_of("m/c.py", 1, "m::x", "m::y"),
        *made_of("n/a.py", 1),
    ]

    assert sizes(split(given, 2)) == [7, 1]


@pytest.mark.parametrize(
    ("count", "wanted", "room", "parts"),
    [
        (3, None, 2, [6]),  # 90 s would be spared, at the price of 85
        (2, None, 2, [4]),
        (2, 2, 1, [2, 2]),
        (9, 1, 2, [18]),
        (9, None, 1, [18]),
        (9, None, 2, [9, 9]),
        (1, 7, 1, [1, 1]),
    ],
)
def test_a_second_guest_must_pay(
    count: int, wanted: int | None, room: int, parts: list[int]
) -> None:
    """It spares at least as much as its cluster costs; what is asked for is done all the same."""
    given = [*made_of("a.py", count, seconds=28.0), *made_of("b.py", count, seconds=28.0)]

    assert sizes(parts_for(given, wanted=wanted, room=room)) == parts
    assert CLUSTER > 3 * 28.0


def test_one_module_can_not_be_split() -> None:
    """However many tests it has."""
    assert sizes(parts_for(made_of("a.py", 40), wanted=2, room=2)) == [40]


def test_a_guests_session_runs_its_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its modules; without being told, it runs all."""
    assert part_of_environment() is None
    monkeypatch.setenv(MODULES, '["a.py", "labs/b [c].py"]')
    items = [
        SimpleNamespace(nodeid=f"{module}::test[a.py::x]")
        for module in ("a.py", "b.py", "labs/b [c].py", "labs/a.py")
    ]

    part = part_of_environment()
    assert isinstance(part, OwnPart)
    part.pytest_collection_modifyitems(cast("list[Any]", items))

    assert [item.nodeid for item in items] == [
        "a.py::test[a.py::x]",
        "labs/b [c].py::test[a.py::x]",
    ]


GIB = 1 << 30


@pytest.mark.parametrize(
    ("allowed", "taken", "shared", "memory", "guests"),
    [
        ({0, 1}, [], 22, 20, 2),
        ({0, 1, 2, 3}, [], 22, 20, 2),
        ({0}, [], 22, 20, 1),
        ({0, 1}, [1], 22, 20, 1),
        ({0, 1}, [0, 1], 22, 20, 1),
        ({0, 1}, [], 7.9, 20, 1),
        ({0, 1}, [], 22, 7.9, 1),
        ({0, 1}, [], 1, 1, 1),
    ],
)
def test_room_is_processors_and_memory(
    monkeypatch: pytest.MonkeyPatch,
    allowed: set[int],
    taken: list[int],
    shared: float,
    memory: float,
    guests: int,
) -> None:
    """That nobody else's guest has; whether there is enough for one is told by starting it."""
    monkeypatch.setattr(room.os, "sched_getaffinity", lambda pid: allowed)
    monkeypatch.setattr(
        room, "live_records", lambda: [SimpleNamespace(processor=each) for each in taken]
    )
    monkeypatch.setattr(
        room.shutil, "disk_usage", lambda folder: SimpleNamespace(free=shared * GIB)
    )
    monkeypatch.setattr(
        room.psutil, "virtual_memory", lambda: SimpleNamespace(available=memory * GIB)
    )

    assert room.room_for_guests() == guests


def test_what_a_test_took_the_last_time_counts() -> None:
    """It moves the others; one that never ran keeps what it is thought to take."""
    given = [*made_of("a.py", 1), *made_of("b.py", 1), *made_of("c.py", 2)]
    took = {given[0].plan.nodeid: 100.0, "gone.py::test": 5.0}
    cache = SimpleNamespace(get=lambda key, default: took if key == ENTRY else default)

    known = Durations(cast("Any", cache)).known(given)

    assert [test.seconds for test in known] == [100.0, 30.0, 30.0, 30.0]
    assert [part.seconds for part in split(known, 2)] == [100.0, 90.0]
    assert Durations(None).known(given) == given
