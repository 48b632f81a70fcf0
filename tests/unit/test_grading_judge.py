"""Judging: criteria in their order, gates, time, and what is not there."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from servicelab.grading.exercise import Criterion
from servicelab.grading.found import Found
from servicelab.grading.grader import judge
from servicelab.grading.results import State
from servicelab.grading.scene import NoSuchObject, Time
from servicelab.verdict import deadlines


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def criterion(id_: str, *needs: str, points: int = 1, **arguments: Any) -> Criterion:
    """A criterion whose check is named as it is."""
    return Criterion(id_, f"{id_} is right", points, id_, arguments, needs, ("Why?",))


def judged(criteria: list[Criterion], **checks: Any) -> dict[str, State]:
    """What becomes of criteria."""
    scene: Any = SimpleNamespace(time=SimpleNamespace(most=None))
    results = judge(tuple(criteria), scene, check=lambda word: checks[word])
    return {each.id: each.state for each in results}


def yes(scene: Any) -> Found:
    """A check that is met."""
    return Found(True, "a", "a")


def no(scene: Any) -> Found:
    """A check that is not."""
    return Found(False, "a", "b", "not a")


def never(scene: Any) -> Found:
    """A check that must not be looked at."""
    raise AssertionError("looked at")


def test_what_needs_a_missed_criterion_is_not_looked_at() -> None:
    """A missing object gives nothing for whatever depends on it, at any distance."""
    found = judged(
        [criterion("a"), criterion("b", "a"), criterion("c", "b"), criterion("d")],
        a=no, b=never, c=never, d=yes,
    )  # fmt: skip

    assert found == {
        "a": State.FAILED,
        "b": State.HELD_BACK,
        "c": State.HELD_BACK,
        "d": State.PASSED,
    }


def test_what_needs_only_met_ones_is_looked_at() -> None:
    """All of its needs count, not one of them."""
    three = [criterion("a"), criterion("b"), criterion("c", "a", "b")]

    assert judged(three, a=yes, b=yes, c=yes)["c"] is State.PASSED
    assert judged(three, a=yes, b=no, c=never)["c"] is State.HELD_BACK


def test_an_object_that_is_not_there_is_a_reason() -> None:
    """The check that looks for it is missed, and says so."""

    def absent(scene: Any) -> Found:
        raise NoSuchObject("Service web")

    scene: Any = SimpleNamespace(time=SimpleNamespace(most=None))
    (result,) = judge((criterion("a"),), scene, check=lambda word: absent)

    assert result.state is State.FAILED
    assert result.why == "there is no Service web"


def test_a_failure_of_the_machinery_is_no_missed_criterion() -> None:
    """What a check can't find out is raised, and costs no points."""

    def broken(scene: Any) -> Found:
        raise OSError("no route to the API server")

    with pytest.raises(OSError, match="no route"):
        judged([criterion("a")], a=broken)


class Proofs:
    """The course's own proofs, done when a test says so."""

    def __init__(self) -> None:
        self.begun: list[Future[None]] = []

    def __call__(self) -> Future[None]:
        self.begun.append(Future())
        return self.begun[-1]


def a_time(clock: Clock, proofs: Proofs, ends_in: float = 1000) -> Time:
    """The time of a submission that was applied just now."""
    time = Time(clock.now + ends_in, proofs, clock=clock)
    time.begin()
    return time


def test_all_checks_share_the_time_to_settle() -> None:
    """The first may wait for all of it, a later one for what is left, a last one for a moment."""
    clock = Clock()
    time = a_time(clock, Proofs())
    settles, moment = deadlines.current().graded_settles, deadlines.current().graded_moment

    assert time.deadline().seconds == settles.seconds
    clock.now += 4
    assert time.deadline().seconds == settles.seconds - 4
    clock.now += 100
    assert time.deadline() == moment


def test_waiting_is_over_when_the_cluster_is_proved_to_have_had_its_time() -> None:
    """A later Service of the course's answers, and a moment has passed: nothing more will come."""
    clock, proofs = Clock(), Proofs()
    time = a_time(clock, proofs)
    clock.now += 5
    assert time.over() is None

    proofs.begun[0].set_result(None)
    assert time.over() is None
    clock.now += deadlines.current().graded_moment.seconds + 0.1

    assert "made later has answered" in (time.over() or "")


def test_a_cluster_that_is_not_proved_goes_on_being_waited_for() -> None:
    """A failed proof shortens no wait."""
    clock, proofs = Clock(), Proofs()
    time = a_time(clock, proofs)
    proofs.begun[0].set_exception(OSError())
    clock.now += 60

    assert time.over() is None


def test_a_change_gives_the_cluster_its_time_again() -> None:
    """After a check has deleted a Pod, an old proof says nothing."""
    clock, proofs = Clock(), Proofs()
    time = a_time(clock, proofs)
    proofs.begun[0].set_result(None)
    clock.now += 50

    time.begin()

    assert time.over() is None
    assert time.deadline().seconds == deadlines.current().graded_settles.seconds
    assert len(time.proofs) == 2


def test_a_check_may_have_seconds_of_its_own_but_not_beyond_the_end() -> None:
    """Its own seconds count, and the end of all checks counts more."""
    clock = Clock()
    time = a_time(clock, Proofs(), ends_in=30)
    time.most = 20

    assert time.deadline().seconds == 20
    clock.now += 25
    assert time.deadline().seconds == 5
    assert time.deadline().name == "graded_in_all"
    clock.now += 25
    assert time.deadline().seconds == 0
