"""Attempts: kept one by one, and compared with the last."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicelab.grading.attempts import Attempts, difference
from servicelab.grading.results import CriterionResult, Grade, Outcome, State


def grade(*states: State, outcome: Outcome = Outcome.GRADED, submission: str = "a") -> Grade:
    """A grade with criteria c0, c1 … of two points each."""
    criteria = tuple(
        CriterionResult(f"c{number}", "", 2, state) for number, state in enumerate(states)
    )
    return Grade("ex", "Ex", "ann", outcome, criteria, 4, submission=submission, version="1")


YES, NO = State.PASSED, State.FAILED


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (None, grade(YES, NO), "the first"),
        (grade(NO, NO), grade(YES, NO, submission="b"), "+2 points; now met: c0"),
        (grade(YES, NO), grade(NO, NO, submission="b"), "-2 points; no longer met: c0"),
        (
            grade(YES, NO),
            grade(NO, YES, submission="b"),
            "as many points as before; now met: c1; no longer met: c0",
        ),
        (grade(YES), grade(YES), "nothing was changed since the last one"),
        (
            grade(YES),
            grade(outcome=Outcome.NOT_GRADED),
            "could not grade; the last one was graded",
        ),
        (
            grade(outcome=Outcome.REFUSED),
            grade(YES, submission="b"),
            "+2 points; now met: c0",
        ),
    ],
)
def test_the_difference_in_words(before: Grade | None, now: Grade, said: str) -> None:
    """Points won and lost, and by which criteria."""
    assert difference(before, now) == said


def test_attempts_are_kept_in_their_order(tmp_path: Path) -> None:
    """The next one is compared with the last one; others' attempts are others'."""
    attempts = Attempts("ex", "ann", tmp_path)

    assert attempts.keep(grade(NO)) == "attempt 1: the first"
    assert attempts.keep(grade(YES, submission="b")) == "attempt 2: +2 points; now met: c0"
    assert [each.score for each in attempts.all()] == [0, 2]
    assert Attempts("ex", "ben", tmp_path).all() == []


def test_what_can_t_be_read_is_passed_over(tmp_path: Path) -> None:
    """A broken file, or one of another version, costs the student nothing."""
    attempts = Attempts("ex", "ann", tmp_path)
    attempts.keep(grade(NO))
    (attempts.folder / "0002.json").write_text("{")
    (attempts.folder / "0003.json").write_text('{"format": 99}')

    assert attempts.keep(grade(YES, submission="b")).startswith("attempt 4: +2 points")


def test_a_student_s_name_stays_in_the_folder(tmp_path: Path) -> None:
    """Whatever it is, attempts are kept below the root."""
    folder = Attempts("ex", "../../etc", tmp_path).folder

    assert folder.resolve().is_relative_to(tmp_path)
    assert folder != Attempts("ex", "..-..-etc", tmp_path).folder


def test_hints_come_one_after_the_other(tmp_path: Path) -> None:
    """The last one is repeated; each criterion has its own row."""
    attempts = Attempts("ex", "ann", tmp_path)

    assert [attempts.next_hint("a", of=2) for _ in range(3)] == [0, 1, 1]
    assert attempts.next_hint("b", of=3) == 0
