"""Waiting ends when it should, says what it saw, and never takes a no for a yes."""

from __future__ import annotations

import pytest

from servicelab.verdict import Deadline, Explanation, Missing, NotProved, consistently, eventually
from servicelab.verdict.waiting import wait_out

TEN = Deadline("service_reachable", 10)


class FakeClock:
    """Time that passes only when slept through, or when an answer takes some."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Answers:
    """Gives one answer after the other, then the last one for ever."""

    def __init__(self, *answers: object, clock: FakeClock | None = None, took: float = 0) -> None:
        self.answers = list(answers)
        self.clock = clock
        self.took = took
        self.asked = 0

    def __call__(self) -> object:
        self.asked += 1
        if self.clock:
            self.clock.now += self.took
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_returns_the_answer_that_satisfied(clock: FakeClock) -> None:
    """The first satisfying answer comes back, after one pause for each that did not satisfy."""
    ask = Answers("no", "no", "yes", "later")

    answer = eventually(
        ask, lambda it: it == "yes", deadline=TEN, expecting="a yes", every=0.5, clock=clock
    )

    assert answer == "yes"
    assert clock.slept == [0.5, 0.5]
    assert ask.asked == 3


def test_a_first_yes_costs_no_time(clock: FakeClock) -> None:
    """The first try is made at once."""
    eventually(Answers("yes"), lambda it: True, deadline=TEN, expecting="a yes", clock=clock)

    assert clock.slept == []


@pytest.mark.parametrize(
    ("every", "took", "pause"), [(0.5, 0.1, 0.5), (0.5, 0.8, 0.8), (0.5, 4, 1.5), (0, 4, 0)]
)
def test_a_slow_answer_is_followed_by_a_longer_pause(
    clock: FakeClock, every: float, took: float, pause: float
) -> None:
    """As long as it took, but for three times what was asked for at most."""
    ask = Answers("no", "yes", clock=clock, took=took)

    eventually(
        ask, lambda it: it == "yes", deadline=TEN, expecting="a yes", every=every, clock=clock
    )

    assert clock.slept == pytest.approx([pause])


def test_the_last_try_is_at_the_deadline(clock: FakeClock) -> None:
    """The last pause is cut short, so that the deadline is neither missed nor passed."""
    with pytest.raises(NotProved):
        eventually(
            Answers("no"), lambda it: False, deadline=TEN, expecting="a yes", every=4, clock=clock
        )

    assert clock.slept == pytest.approx([4, 4, 2])


def test_something_that_comes_true_at_the_deadline_counts(clock: FakeClock) -> None:
    """An answer of the last try, made at the deadline, is taken."""
    answer = eventually(
        clock.monotonic,
        lambda now: now >= 110,
        deadline=TEN,
        expecting="the end",
        every=3,
        clock=clock,
    )

    assert answer == 110


def test_slow_answers_do_not_stretch_the_wait(clock: FakeClock) -> None:
    """Seconds are counted, not tries: three answers of 4 s fill a deadline of 10 s."""
    ask = Answers("no", clock=clock, took=4)

    with pytest.raises(NotProved, match=r"waited     12\.\d s"):
        eventually(ask, lambda it: False, deadline=TEN, expecting="a yes", clock=clock)

    assert ask.asked == 3


def test_a_run_in_a_row_starts_again_after_a_miss(clock: FakeClock) -> None:
    """Three in a row are three without a miss between them."""
    ask = Answers(1, 1, 0, 1, 1, 1, 1)

    eventually(ask, lambda it: it == 1, deadline=TEN, expecting="ones", in_a_row=3, clock=clock)

    assert ask.asked == 6


def test_the_message_says_all_that_is_known(clock: FakeClock) -> None:
    """Expectation, time, deadline's name, tries, best run, last answer, earlier ones, cause."""
    ask = Answers("timed out", "timed out", "200", "timed out", "refused", clock=clock, took=1)

    with pytest.raises(NotProved) as raised:
        eventually(
            ask,
            lambda it: it == "200",
            deadline=TEN,
            expecting="Service a/web should answer 200 on http://10.96.0.7/",
            asked_from="outside",
            every=1,
            in_a_row=3,
            explain=lambda last: Explanation(
                broken_at="EndpointSlice: 0 of 2 endpoints ready",
                so=f"kube-proxy says {last}",
                try_="kubectl -n a describe pod web-1",
            ),
            clock=clock,
        )

    assert str(raised.value) == (
        "Service a/web should answer 200 on http://10.96.0.7/, asked from outside\n"
        "  waited     11.0 s (deadlines.service_reachable), 6 tries, best run 1 of 3 in a row\n"
        "  last saw   refused at 11.0 s (before: 3x timed out, 1x 200, 1x refused)\n"
        "  broken at  EndpointSlice: 0 of 2 endpoints ready\n"
        "  so         kube-proxy says refused\n"
        "  try        kubectl -n a describe pod web-1"
    )


def test_what_is_missing_stands_beside_what_was_seen(clock: FakeClock) -> None:
    """`Missing` is a no, and its words are in the message."""
    with pytest.raises(NotProved, match=r"last saw   2 Pods: one more Pod at 10\.0 s"):
        eventually(
            Answers("2 Pods"),
            lambda it: Missing("one more Pod"),
            deadline=TEN,
            expecting="3 Pods",
            clock=clock,
        )


@pytest.mark.parametrize("verdict", ["still missing a Pod", [], None, 1], ids=repr)
def test_only_a_bool_or_missing_is_a_verdict(clock: FakeClock, verdict: object) -> None:
    """A text or a list taken for a yes would prove anything, so it is an error."""
    with pytest.raises(TypeError, match="must return a bool or Missing"):
        eventually(
            Answers("x"),
            lambda it: verdict,  # type: ignore[arg-type,return-value]
            deadline=TEN,
            expecting="x",
            clock=clock,
        )


def test_gives_up_when_it_cannot_come_true(clock: FakeClock) -> None:
    """A reason of `give_up` ends the wait at once, and is said."""
    with pytest.raises(NotProved, match="gave up    the Pod has failed"):
        eventually(
            Answers("Pending", "Failed"),
            lambda it: it == "Running",
            deadline=TEN,
            expecting="the Pod to run",
            give_up=lambda it: "the Pod has failed" if it == "Failed" else None,
            clock=clock,
        )

    assert clock.slept == [0.1]


def test_named_exceptions_are_answers_too(clock: FakeClock) -> None:
    """An exception of `retry_on` is a no with its words; the wait goes on."""
    ask = Answers(ConnectionError("refused"), "yes")

    assert (
        eventually(
            ask,
            lambda it: True,
            deadline=TEN,
            expecting="a yes",
            clock=clock,
            retry_on=(ConnectionError,),
        )
        == "yes"
    )


def test_explain_gets_none_after_an_exception(clock: FakeClock) -> None:
    """There is no last answer if the last try raised; its words are still told."""
    given: list[object] = []

    def explain(last: object) -> None:
        given.append(last)

    with pytest.raises(NotProved, match="last saw   ConnectionError: refused"):
        eventually(
            Answers("first", ConnectionError("refused")),
            lambda it: False,
            deadline=TEN,
            expecting="a yes",
            explain=explain,
            clock=clock,
            retry_on=(ConnectionError,),
        )

    assert given == [None]


def test_other_exceptions_pass_through(clock: FakeClock) -> None:
    """An exception nobody named is a bug, and not waited for."""
    with pytest.raises(ZeroDivisionError):
        eventually(
            Answers(ZeroDivisionError()),
            lambda it: True,
            deadline=TEN,
            expecting="a yes",
            clock=clock,
            retry_on=(ConnectionError,),
        )

    assert clock.slept == []


def test_consistently_asks_until_the_time_is_up(clock: FakeClock) -> None:
    """What holds at every try, the one at the end included, is given back."""
    answer = consistently(
        clock.monotonic, lambda it: True, for_=TEN, expecting="quiet", every=4, clock=clock
    )

    assert answer == 110


def test_consistently_stops_at_the_first_break(clock: FakeClock) -> None:
    """One answer that does not hold is enough, and the message says when it came."""
    with pytest.raises(NotProved) as raised:
        consistently(
            Answers("gone", "gone", "answers"),
            lambda it: it == "gone",
            for_=Deadline("stays_so", 3),
            expecting="the old Pod should get no request",
            asked_from="pod/client",
            every=0.5,
            clock=clock,
        )

    assert str(raised.value) == (
        "the old Pod should get no request, asked from pod/client\n"
        "  held for   1.0 of 3.0 s (deadlines.stays_so), 3 tries\n"
        "  then saw   answers at 1.0 s (before: 2x gone)"
    )


def test_waiting_without_a_reason_is_refused(clock: FakeClock) -> None:
    """A deliberate pause says what it is for."""
    with pytest.raises(ValueError, match="without a reason"):
        wait_out(5, "", clock=clock)

    wait_out(5, "the affinity timeout of 4 s", clock=clock)

    assert clock.slept == [5]
