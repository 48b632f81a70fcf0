"""What a class got: for a gradebook, for a machine, and to put parts together."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servicelab.errors import UsageError
from servicelab.grading.classroom.submissions import Roll
from servicelab.grading.results import Grade, Outcome

FORMAT = 1
"""Of the JSON."""
NOT_HANDED_IN = "not handed in"
#: What spreadsheets take for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Task:
    """An exercise, as far as a gradebook needs it.

    Attributes:
        name: the exercise's name.
        title: its title.
        possible: the points that it gives.
        version: its content, a digest.
    """

    name: str
    title: str
    possible: int
    version: str


@dataclass(frozen=True, slots=True)
class Gradebook:
    """What a class got.

    Attributes:
        tasks: the exercises, in order.
        students: everybody, in order.
        grades: at most one for each student and exercise.
        seed: the course's.
    """

    tasks: tuple[Task, ...]
    students: tuple[str, ...]
    grades: tuple[Grade, ...]
    seed: str = ""

    @classmethod
    def of(cls, roll: Roll, grades: Iterable[Grade], *, seed: str = "") -> Gradebook:
        """The gradebook of those who are on a roll."""
        tasks = tuple(
            Task(each.name, each.title, each.possible, each.version) for each in roll.exercises
        )
        return cls(tasks, roll.students, tuple(grades), seed)

    @property
    def by_student(self) -> dict[tuple[str, str], Grade]:
        """The grades by student and exercise."""
        return {(grade.student, grade.exercise): grade for grade in self.grades}

    @property
    def not_graded(self) -> list[Grade]:
        """Those that say nothing about a submission."""
        return [grade for grade in self.grades if grade.outcome is Outcome.NOT_GRADED]

    def points(self, student: str) -> int | None:
        """What a student has in all; None while one of theirs could not be graded."""
        found = [grade for grade in self.grades if grade.student == student]
        scores = [grade.score for grade in found]
        return None if None in scores else sum(score or 0 for score in scores)

    @property
    def possible(self) -> int:
        """The points that all exercises give."""
        return sum(task.possible for task in self.tasks)

    def to_csv(self) -> str:
        """One row a student; a grade that could not be given is an empty cell, never 0."""
        out = io.StringIO()
        writer = csv.writer(out)
        names = [cell for task in self.tasks for cell in (task.name, f"{task.name} outcome")]
        writer.writerow(["student", *map(_cell, names), "points", "possible"])
        grades = self.by_student
        for student in self.students:
            row: list[object] = [_cell(student)]
            for task in self.tasks:
                grade = grades.get((student, task.name))
                score = 0 if grade is None else grade.score
                row += [
                    "" if score is None else score,
                    str(grade.outcome) if grade else NOT_HANDED_IN,
                ]
            points = self.points(student)
            writer.writerow([*row, "" if points is None else points, self.possible])
        return out.getvalue()

    def to_json(self) -> dict[str, Any]:
        """All of it; `from_json` reads it back."""
        return {
            "format": FORMAT,
            "seed": self.seed,
            "exercises": [
                {
                    "name": task.name,
                    "title": task.title,
                    "possible": task.possible,
                    "version": task.version,
                }
                for task in self.tasks
            ],
            "students": list(self.students),
            "grades": [grade.to_json() for grade in self.grades],
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Gradebook:
        """Read back what `to_json` wrote.

        Raises:
            ValueError: it is of another format.
            KeyError: something is missing.
            TypeError: something is of another shape.
        """
        if said.get("format") != FORMAT:
            raise ValueError(f"its format is {said.get('format')!r}, not {FORMAT}")
        return cls(
            tuple(Task(**each) for each in said["exercises"]),
            tuple(map(str, said["students"])),
            tuple(Grade.from_json(each) for each in said["grades"]),
            str(said["seed"]),
        )


def read(file: Path) -> Gradebook:
    """A gradebook from the JSON that `servicelab grade-all --json` wrote.

    Raises:
        UsageError: it can't be read.
    """
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(said, dict):
            raise ValueError("it holds no mapping")
        return Gradebook.from_json(said)
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{file} is no gradebook: {error}",
            remedy="name what `servicelab grade-all --json` wrote",
        ) from None


def merge(books: Iterable[tuple[str, Gradebook]]) -> Gradebook:
    """Put gradebooks of parts of a class, or of several runs, together.

    Of two grades for one submission the one that says something is taken, then the later one.

    Args:
        books: what to call each in an error, and the gradebook.

    Raises:
        UsageError: they are not of the same course.
    """
    tasks: dict[str, Task] = {}
    students: dict[str, None] = {}
    grades: dict[tuple[str, str], Grade] = {}
    seeds: dict[str, str] = {}
    for where, book in books:
        seeds.setdefault(book.seed, where)
        if len(seeds) > 1:
            first, second = seeds.values()
            raise UsageError(f"{first} and {second} are of courses with different seeds")
        for task in book.tasks:
            before = tasks.setdefault(task.name, task)
            if before != task:
                raise UsageError(
                    f"{where} has another version of the exercise {task.name} than those before it",
                    remedy="grade all of them with one version",
                )
        students |= dict.fromkeys(book.students)
        for grade in book.grades:
            key = (grade.student, grade.exercise)
            if key not in grades or _says_more(grade, grades[key]):
                grades[key] = grade
    return Gradebook(
        tuple(tasks[name] for name in sorted(tasks)),
        tuple(sorted(students)),
        tuple(grades[key] for key in sorted(grades)),
        next(iter(seeds), ""),
    )


def _says_more(grade: Grade, before: Grade) -> bool:
    def worth(each: Grade) -> tuple[bool, float]:
        return each.outcome is not Outcome.NOT_GRADED, each.graded_at

    return worth(grade) > worth(before)


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: names are the students' own."""
    return f"'{text}" if text.startswith(_FORMULA) else text
