"""Judging: criteria in their order, gates, time, and what is not there."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from servicelab.errors import InfrastructureError
from servicelab.grading.exercise import Criterion
from servicelab.grading.found import Found
from servicelab.grading.grader import judge
from servicelab.grading.results import State
from servicelab.grading.scene import NoSuchObject, Time
from servicelab.verdict import Deadline, deadlines


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
        self.pods: list[bool] = []

    def __call__(self, pods: bool) -> Future[None]:
        self.pods.append(pods)
        self.begun.append(Future())
        return self.begun[-1]


MOMENT = deadlines.current().graded_moment.seconds


@pytest.fixture
def clock() -> Clock:
    """The test's clock."""
    return Clock()


@pytest.fixture
def proofs() -> Proofs:
    """The test's proofs."""
    return Proofs()


@pytest.fixture
def times(clock: Clock, proofs: Proofs) -> Time:
    """The time of a submission that was applied just now."""
    times = Time(clock.now + 100, proofs, clock=clock)
    times.begin(pods=False)
    return times


def test_it_is_over_when_the_cluster_has_had_its_time(
    times: Time, clock: Clock, proofs: Proofs
) -> None:
    """A later Service of the course's answers, and a moment has passed: nothing more will come."""
    assert times.over(clock.now + 50) is None

    proofs.begun[0].set_result(None)

    assert times.over(clock.now + MOMENT - 0.1) is None
    assert "made later has answered" in (times.over(clock.now + MOMENT) or "")


def test_a_look_that_began_too_early_says_nothing(
    times: Time, clock: Clock, proofs: Proofs
) -> None:
    """On a slow machine a look may begin before the proof, and end long after it."""
    began = clock.now
    clock.now += 9
    proofs.begun[0].set_result(None)
    clock.now += 9

    assert times.over(began) is None
    assert times.over(clock.now)


def test_where_the_cluster_fails_nobody_goes_on_waiting(times: Time, proofs: Proofs) -> None:
    """The proof's failure is what a look ends with, not a missed criterion."""
    assert times.failure is None
    proofs.begun[0].set_exception(InfrastructureError("the cluster does not do its work"))

    with pytest.raises(InfrastructureError, match="does not do its work"):
        a_scene(times).until(lambda: 1, lambda seen: False, expecting="two", every=0)


def test_a_change_gives_the_cluster_its_time_again(
    times: Time, clock: Clock, proofs: Proofs
) -> None:
    """After a check has deleted a Pod, an old proof says nothing; the new one is by a Pod."""
    proofs.begun[0].set_result(None)
    times.begin(pods=True)
    assert times.over(clock.now + 50) is None

    proofs.begun[1].set_result(None)

    assert times.over(clock.now + 50)
    assert proofs.pods == [False, True]


def test_a_check_may_wait_longer(times: Time, clock: Clock, proofs: Proofs) -> None:
    """Its own seconds count from the proof on."""
    proofs.begun[0].set_result(None)
    times.most = 20

    assert times.over(clock.now + 19) is None
    assert times.over(clock.now + 20)


def test_all_checks_have_one_end(times: Time, clock: Clock) -> None:
    """No check goes on beyond it."""
    assert times.deadline() == deadlines.current().graded_settles
    clock.now += 90
    assert times.deadline() == Deadline("graded_in_all", 10)
    clock.now += 90
    assert times.deadline().seconds == 0


def a_scene(times: Time) -> Any:
    """A scene with nothing in it."""
    from servicelab.grading.scene import Scene

    nothing: Any = None
    return Scene(nothing, {}, nothing, times)


def test_what_is_not_seen_is_missed_once_it_is_over(
    times: Time, clock: Clock, proofs: Proofs
) -> None:
    """The sight says what was waited for, and what was seen last."""
    proofs.begun[0].set_result(None)

    def look() -> str:
        clock.now += 1.5
        return "nothing"

    sight = a_scene(times).until(look, lambda seen: False, expecting="a miracle", every=0)

    assert not sight.satisfied
    assert "expected a miracle" in sight.waited_for
    assert "last saw   nothing" in sight.waited_for


def test_what_runs_out_before_it_is_proved_is_no_missed_criterion(
    times: Time, clock: Clock, proofs: Proofs
) -> None:
    """The cluster is too slow: that costs no points, and says what was waited for."""
    times.ends_at = clock.now  # the deadline itself is real time; no test waits for it

    with pytest.raises(InfrastructureError, match=r"too slow .*expected a miracle .*last saw"):
        a_scene(times).until(lambda: "nothing", lambda seen: False, expecting="a miracle")


def test_what_is_seen_needs_no_proof(times: Time) -> None:
    """A criterion that is met is met at once."""
    sight = a_scene(times).until(lambda: 7, lambda seen: seen == 7, expecting="seven")

    assert (sight.seen, sight.satisfied, sight.waited_for) == (7, True, "")


def stays(scene: Any, clock: Clock, looks: list[bool]) -> Any:
    """See whether it stays so, a second a look."""

    def look() -> bool:
        clock.now += 1
        return looks.pop(0) if len(looks) > 1 else looks[0]

    before = deadlines.use(deadlines.parse(["stays_so=3", "graded_settles=2"]))
    try:
        return scene.stays(look, bool, expecting="it to stay so", tell=str)
    finally:
        deadlines.use(before)


def test_what_stays_so_until_the_cluster_is_proved_is_so(
    times: Time, clock: Clock, proofs: Proofs
) -> None:
    """For a while at least, whatever else has been proved."""
    proofs.begun[0].set_result(None)
    began = clock.now

    assert stays(a_scene(times), clock, [True]).satisfied
    assert clock.now - began >= 3


def test_what_does_not_stay_so_is_not_so(times: Time, clock: Clock, proofs: Proofs) -> None:
    """One look is enough, and the message has it."""
    proofs.begun[0].set_result(None)

    seen = stays(a_scene(times), clock, [True, False, True])

    assert not seen.satisfied
    assert "it did not stay so" in seen.waited_for


def test_a_slow_cluster_says_nothing_of_what_stays_so(times: Time, clock: Clock) -> None:
    """Nobody gets points, and nobody loses them, by a machine that has no time."""
    with pytest.raises(InfrastructureError, match="too slow to say anything"):
        stays(a_scene(times), clock, [True])
