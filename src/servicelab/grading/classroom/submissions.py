"""Who handed in what: the submissions in a folder.

    SUBMISSIONS/STUDENT.yaml              with one exercise for everybody
    SUBMISSIONS/STUDENT/…                 the same, as a folder of manifests
    SUBMISSIONS/STUDENT/EXERCISE.yaml     with several exercises
    SUBMISSIONS/STUDENT/EXERCISE/…

The folder is the course's; whatever lies in it is the students', names too.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from servicelab.errors import UsageError
from servicelab.grading.exercise import Exercise
from servicelab.report.safe_text import one_line

_ENDINGS = (".yaml", ".yml", ".json")
_LONGEST_NAME = 100
_MOST_OF_ONE = 200
"""Entries of a student's folder that are looked at."""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """One submission.

    Attributes:
        student: whose; printable.
        exercise: what was to be done.
        path: where it is.
    """

    student: str
    exercise: Exercise
    path: Path

    @property
    def key(self) -> tuple[str, str]:
        """Student and exercise: there is one submission of each."""
        return self.student, self.exercise.name


@dataclass(frozen=True, slots=True)
class Roll:
    """What a folder of submissions holds.

    Attributes:
        handed_in: the submissions, by student, then by exercise.
        students: everybody who has an entry in the folder, in order.
        exercises: what was to be done.
        passed_over: entries that are no submission, each with the reason.
    """

    handed_in: tuple[HandedIn, ...]
    students: tuple[str, ...]
    exercises: tuple[Exercise, ...]
    passed_over: tuple[str, ...]

    @property
    def missing(self) -> list[tuple[str, Exercise]]:
        """Who has not handed in what."""
        there = {each.key for each in self.handed_in}
        return [
            (student, exercise)
            for student in self.students
            for exercise in self.exercises
            if (student, exercise.name) not in there
        ]

    def shard(self, number: int, of: int) -> Roll:
        """The part of the students that one of several machines grades.

        Whose part somebody is in depends on their name alone, not on who else is there.

        Args:
            number: of the part, from 1.
            of: how many parts there are.
        """
        students = tuple(each for each in self.students if shard_of(each, of) == number)
        chosen = set(students)
        handed_in = tuple(each for each in self.handed_in if each.student in chosen)
        return Roll(handed_in, students, self.exercises, self.passed_over)


def shard_of(student: str, of: int) -> int:
    """Which of so many parts a student is in, from 1."""
    digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % of + 1


def parse_shard(text: str) -> tuple[int, int]:
    """Read "2/8": the second of eight parts.

    Raises:
        UsageError: it is no such thing.
    """
    number, slash, of = text.partition("/")
    if slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 1000:
        return int(number), int(of)
    raise UsageError(f"{text!r} is no part of the class", remedy="write NUMBER/OF, such as 2/8")


def collect(root: Path, exercises: Sequence[Exercise], *, one: bool) -> Roll:
    """Find the submissions in a folder.

    Args:
        root: the folder.
        exercises: what may have been done.
        one: the folder has one exercise, so a student's entry is the submission itself.

    Raises:
        UsageError: there is no such folder, or somebody has handed in twice.
    """
    try:
        entries = sorted(_entries(root))
    except OSError as error:
        raise UsageError(
            f"the submissions {root} can't be read: {error.strerror}",
            remedy="name a folder with a folder or a manifest for each student",
        ) from None
    found: dict[tuple[str, str], HandedIn] = {}
    students: dict[str, None] = {}
    passed_over: list[str] = []

    def add(student: str, exercise: Exercise, path: Path) -> None:
        before = found.setdefault((student, exercise.name), HandedIn(student, exercise, path))
        if before.path != path:
            raise UsageError(
                f"{student} has handed in {exercise.name} twice: {before.path.name} and "
                f"{one_line(path.name, _LONGEST_NAME)}",
                remedy="take one away",
            )

    by_name = {each.name: each for each in exercises}
    for name, kind in entries:
        stem = _stem(name, kind)
        if stem is None:
            passed_over.append(f"{_printable(name)}: no manifest by its name")
        elif one:
            students[stem] = None
            add(stem, exercises[0], root / name)
        elif kind != stat.S_IFDIR:
            passed_over.append(f"{_printable(name)}: no folder of a student")
        else:
            students[stem] = None
            for inner, inner_kind in _of_student(root / name, stem, passed_over):
                exercise = by_name.get(_stem(inner, inner_kind) or "")
                if exercise is None:
                    passed_over.append(f"{stem}/{_printable(inner)}: no exercise of that name")
                else:
                    add(stem, exercise, root / name / inner)
    used = {each.exercise.name for each in found.values()}
    return Roll(
        tuple(sorted(found.values(), key=lambda each: each.key)),
        tuple(students),
        tuple(each for each in exercises if one or each.name in used),
        tuple(passed_over),
    )


def _entries(folder: Path) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry.name, stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)


def _of_student(folder: Path, student: str, passed_over: list[str]) -> list[tuple[str, int]]:
    try:
        found = sorted(islice(_entries(folder), _MOST_OF_ONE + 1))
    except OSError as error:
        passed_over.append(f"{student}: can't be read: {error.strerror}")
        return []
    if len(found) > _MOST_OF_ONE:
        passed_over.append(f"{student}: has more than {_MOST_OF_ONE} entries")
        return []
    return found


def _stem(name: str, kind: int) -> str | None:
    """Whose or what an entry is, by its name; None if it is nothing of the kind.

    What is no plain file is somebody's submission all the same, and is refused as such.
    """
    if kind == stat.S_IFREG:
        ending = next((each for each in _ENDINGS if name.lower().endswith(each)), None)
        if ending is None:
            return None
        name = name[: -len(ending)]
    return _printable(name)


def _printable(name: str) -> str:
    return one_line(name, _LONGEST_NAME) or "unnamed"
