"""Verifying an exercise: each of its submissions gets what it must, or the difference is told."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from servicelab.grading.catalogue import find_exercise
from servicelab.grading.exercise import Exercise
from servicelab.grading.results import CriterionResult, Grade, Outcome, State
from servicelab.grading.verifying import Case, cases, differences, verify

EXERCISE = find_exercise("mend-the-selector")
ALL = frozenset(each.id for each in EXERCISE.criteria)


def grade(lost: frozenset[str] = frozenset(), outcome: Outcome = Outcome.GRADED) -> Grade:
    """A grade that misses some criteria."""
    criteria = tuple(
        CriterionResult(
            each.id, each.says, each.points, State.FAILED if each.id in lost else State.PASSED
        )
        for each in EXERCISE.criteria
    )
    return Grade("x", "X", "", outcome, criteria if outcome is Outcome.GRADED else (), 10)


def case(loses: frozenset[str] | None, refused: bool = False) -> Case:
    """A submission."""
    return Case(EXERCISE, "a-case", Path(), loses, refused)


ANSWERS = frozenset({"answers"})
REFUSED = grade(outcome=Outcome.REFUSED)
NOT_GRADED = grade(outcome=Outcome.NOT_GRADED)


@pytest.mark.parametrize(
    ("expected", "got", "problem"),
    [
        (case(None), grade(ALL), ""),
        (case(None), REFUSED, ""),
        (case(None), grade(ANSWERS), "graded 6 of 10, and must have no points"),
        (case(None), NOT_GRADED, "could not grade"),
        (case(frozenset()), grade(), ""),
        (case(frozenset()), grade(ANSWERS), "answers is lost and must not be"),
        (case(frozenset()), REFUSED, "refused (), and must be graded"),
        (case(frozenset()), NOT_GRADED, "must be graded"),
        (case(ANSWERS), grade(ANSWERS), ""),
        (case(ANSWERS), grade(), "answers is met and must not be"),
        (case(ANSWERS), grade(frozenset({"follows"})), "follows is lost and must not be"),
        (case(frozenset(), refused=True), REFUSED, ""),
        (case(frozenset(), refused=True), grade(ALL), "graded 0 of 10, and must be refused"),
    ],
)
def test_a_difference_is_told(expected: Case, got: Grade, problem: str) -> None:
    """Points for nothing, points lost for nothing, and the wrong outcome."""
    found = list(differences(expected, got))

    assert bool(found) is (problem != "")
    assert problem in "\n".join(found)


def test_every_folder_of_an_exercise_is_a_case() -> None:
    """The starter, all solutions, all wrong answers."""
    names = [each.name for each in cases(EXERCISE)]

    assert names[:3] == ["starter", "solution", "two-labels"]
    assert {each for each in names if each.startswith("wrong/")} == {
        f"wrong/{each.name}" for each in EXERCISE.wrong
    }


class Graded:
    """Grades by what is written in the manifest."""

    def __init__(self) -> None:
        self.students: set[str] = set()

    def grade(self, exercise: Exercise, path: Path, *, student: str = "") -> Grade:
        """As Grader.grade."""
        self.students.add(student)
        assert "{{" not in (path / "service.yaml").read_text()
        return grade()


def test_each_case_is_graded_as_a_student_of_its_own() -> None:
    """With names and numbers of its own, and whoever gives full marks to all is found out."""
    grader = Graded()

    found = {each.case.name: each.problems for each in verify(grader, cases(EXERCISE))}

    assert grader.students == set(found)
    assert not found["solution"]
    assert found["starter"]
    assert found["wrong/other-port"]


class Broken:
    """Fails at the first submission."""

    def __init__(self) -> None:
        self.asked = 0

    def grade(self, exercise: Exercise, path: Path, *, student: str = "") -> Grade:
        """As Grader.grade."""
        self.asked += 1
        if self.asked > 1:
            Event().wait(0.2)  # those that come after are slow, as they are on a cluster
        raise OSError("broken")


def test_after_an_error_nothing_more_begins() -> None:
    """Who waits for the end of a run that failed waits for what has begun only."""
    grader = Broken()

    with pytest.raises(OSError, match="broken"):
        list(verify(grader, cases(EXERCISE) * 20, workers=1))

    assert grader.asked < 20
