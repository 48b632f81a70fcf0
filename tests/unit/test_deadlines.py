"""Each wait has one named deadline, and a user can change it."""

from __future__ import annotations

import pytest

from servicelab.errors import UsageError
from servicelab.verdict import deadlines
from servicelab.verdict.deadlines import Deadlines


def test_each_deadline_is_documented_under_its_own_name() -> None:
    """A field's deadline carries the field's name, a time, a purpose and a source."""
    for name, deadline in vars(Deadlines()).items():
        assert deadline.name == name
        assert deadline.seconds > 0
        assert deadline.purpose
        assert deadline.source


def test_a_deadline_says_where_it_can_be_looked_up() -> None:
    """Messages name a deadline as the code does."""
    assert str(Deadlines().pod_ready) == "deadlines.pod_ready"


def test_one_can_be_set_and_the_others_stretched() -> None:
    """A set deadline is taken as given; the factor applies to all others."""
    changed = deadlines.parse(["pod_ready=7.5"], factor=2)

    assert changed.pod_ready.seconds == 7.5
    assert changed.dns_answers.seconds == 2 * Deadlines().dns_answers.seconds
    assert changed.dns_answers.purpose


@pytest.mark.parametrize(
    ("setting", "factor", "problem"),
    [
        ("pod_redy=3", 1, r"no deadline named 'pod_redy'; use one of affinity_.*pod_ready"),
        ("pod_ready", 1, r"'pod_ready' can't be read: it has no `=`; write NAME=SECONDS"),
        ("pod_ready=soon", 1, "'soon' is not a number"),
        ("pod_ready=0", 1, "pod_ready of the deadlines is 0, not above zero"),
        ("pod_ready=nan", 1, "not above zero"),
        ("pod_ready=inf", 1, "not above zero"),
        ("pod_ready=1", -1, "the factor of the deadlines is -1, not above zero"),
    ],
)
def test_a_wrong_setting_is_refused(setting: str, factor: float, problem: str) -> None:
    """A wrong name or number is one sentence that says what would be right."""
    with pytest.raises(UsageError, match=problem):
        deadlines.parse([setting], factor=factor)


def test_the_run_has_its_deadlines() -> None:
    """What `use` was given is what library code gets, until it is put back."""
    mine = deadlines.parse([], factor=3)
    before = deadlines.use(mine)

    assert deadlines.current() is mine
    assert deadlines.use(before) is mine
    assert deadlines.current() is before
