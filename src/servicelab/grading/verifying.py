"""Proving an exercise: its starter, its solutions and its wrong answers get what they should."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from servicelab.grading.exercise import Exercise
from servicelab.grading.results import Grade, Outcome, State
from servicelab.grading.sheet import Sheet

#: Submissions at the same time; most of their time is spent waiting.
WORKERS = 4


class Grades(Protocol):
    """What grades: a `Grader`."""

    def grade(self, exercise: Exercise, path: Path, *, student: str = "") -> Grade:
        """Grade one submission."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """A submission of the course's own, and what it must get.

    Attributes:
        exercise: what it is for.
        name: its folder's name.
        folder: where it stands.
        loses: the criteria that it must not meet; None for a starter, which must have no points.
        refused: it must be refused.
    """

    exercise: Exercise
    name: str
    folder: Path
    loses: frozenset[str] | None
    refused: bool = False

    def __str__(self) -> str:
        return f"{self.exercise.name}/{self.name}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a case got.

    Attributes:
        case: the submission.
        grade: its grade.
        problems: how that differs from what it must get.
    """

    case: Case
    grade: Grade
    problems: tuple[str, ...]


def cases(exercise: Exercise) -> list[Case]:
    """Every submission that the exercise brings."""
    wrong = {each.name: each for each in exercise.wrong}
    return [
        Case(exercise, "starter", exercise.folder / "starter", None),
        *(Case(exercise, name, path, frozenset()) for name, path in exercise.solutions.items()),
        *(
            Case(exercise, f"wrong/{name}", path, wrong[name].loses, wrong[name].refused)
            for name, path in exercise.wrong_answers.items()
        ),
    ]


def verify(
    grader: Grades,
    chosen: Iterable[Case],
    *,
    workers: int = WORKERS,
    on_start: Callable[[Case], object] = lambda case: None,
) -> Iterator[Verified]:
    """Grade submissions of the course's own, several at a time, and compare; as they are done.

    Args:
        grader: what grades.
        chosen: which.
        workers: how many at the same time.
        on_start: is told when one begins.
    """

    def verified(case: Case) -> Verified:
        on_start(case)
        grade = grade_case(grader, case)
        return Verified(case, grade, tuple(differences(case, grade)))

    pool = ThreadPoolExecutor(workers, thread_name_prefix="verify")
    try:
        for done in as_completed([pool.submit(verified, case) for case in chosen]):
            yield done.result()
    finally:
        # After an error or Ctrl-C, those that have not begun are left out.
        pool.shutdown(cancel_futures=True)


def grade_case(grader: Grades, case: Case) -> Grade:
    """Grade one of them, as a student of its own name hands it in."""
    sheet = Sheet(case.exercise, case.name)
    with tempfile.TemporaryDirectory(prefix="servicelab-verify-") as folder:
        sheet.write(case.folder, Path(folder))
        return grader.grade(case.exercise, Path(folder), student=case.name)


def differences(case: Case, grade: Grade) -> Iterator[str]:
    """How a grade differs from what the case must get."""
    if case.loses is None:
        if grade.outcome is Outcome.NOT_GRADED or grade.score != 0:
            yield f"it is {_told(grade)}, and must have no points"
        return
    expected = Outcome.REFUSED if case.refused else Outcome.GRADED
    if grade.outcome is not expected:
        yield f"it is {_told(grade)}, and must be {expected}"
        return
    lost = {each.id for each in grade.criteria if each.state is not State.PASSED}
    if not case.refused and lost != case.loses:
        for id_ in sorted(lost - case.loses):
            each = grade.criterion(id_)
            yield f"{id_} is lost and must not be: {each.why} ({each.actual})"
        for id_ in sorted(case.loses - lost):
            yield f"{id_} is met and must not be: {grade.criterion(id_).actual}"


def _told(grade: Grade) -> str:
    if grade.outcome is Outcome.GRADED:
        return f"graded {grade.score} of {grade.possible}"
    return f"{grade.outcome} ({grade.reason})"
