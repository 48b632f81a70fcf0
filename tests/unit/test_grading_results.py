"""A grade: three outcomes that can't be mixed up, and what it writes can be read back."""

from __future__ import annotations

import dataclasses
import json

import pytest

from servicelab.grading.results import CriterionResult, Grade, Outcome, State

MET = CriterionResult("finds", "it finds them", 4, State.PASSED, "a", "a")
MISSED = CriterionResult("answers", "it answers", 6, State.FAILED, "a", "b", "not a", "waited")
HELD = CriterionResult("follows", "it follows", 2, State.HELD_BACK, needs=("answers",))


def grade(*criteria: CriterionResult, outcome: Outcome = Outcome.GRADED, **values) -> Grade:
    """A grade of the exercise `ex`."""
    return Grade("ex", "Ex", "ann", outcome, criteria, 12, **values)


@pytest.mark.parametrize(
    ("graded", "score", "code"),
    [
        (grade(MET), 4, 0),
        (grade(MET, MISSED, HELD), 4, 1),
        (grade(MISSED), 0, 1),
        (grade(outcome=Outcome.REFUSED), 0, 4),
        (grade(outcome=Outcome.NOT_GRADED), None, 3),
    ],
)
def test_score_and_exit_code(graded: Grade, score: int | None, code: int) -> None:
    """Graded 0 or 1, could not grade 3 and without a score, refused 4 and 0 points."""
    assert (graded.score, graded.exit_code) == (score, code)
    assert graded.is_full == (code == 0)


def test_what_is_written_is_read_back() -> None:
    """JSON there and back gives the same grade; it says the score for readers that don't count."""
    before = grade(MET, MISSED, HELD, reason="", remarks=("look",), seconds=1.5, submission="ab")

    said = json.loads(json.dumps(before.to_json()))

    assert Grade.from_json(said) == before
    assert said["score"] == 4
    assert said["outcome"] == "graded"
    assert [each["earned"] for each in said["criteria"]] == [4, 0, 0]


def test_another_format_is_not_misread() -> None:
    """A grade of another format is refused."""
    with pytest.raises(ValueError, match="format 99"):
        Grade.from_json(grade(MET).to_json() | {"format": 99})


def test_equal_whenever_it_was_graded() -> None:
    """Two grades of the same submission are equal: the time of day is no part of them."""
    first = grade(MET, graded_at=1.0)

    assert first == dataclasses.replace(first, graded_at=2.0)
