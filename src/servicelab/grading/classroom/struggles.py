"""Where a class struggled: what was met by how many, and why it was not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from servicelab.grading.classroom.gradebook import Gradebook, Task
from servicelab.grading.parameters import WORDS
from servicelab.grading.results import CriterionResult, Grade, Outcome, State

_MOST_REASONS = 4
#: Names and numbers that are one student's own: what was drawn, Pods, namespaces, addresses, ports.
_OWN = re.compile(rf"[\w.:/-]*\d[\w.:/-]*|\b(?:{'|'.join(WORDS)})\b")
#: Several of them, however many one student has.
_SEVERAL = re.compile(r"…(?:,? (?:and )?…)+")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why several did not meet a criterion.

    Attributes:
        why: the reason, names and numbers of one student left out.
        example: the same of one of them, in full.
        students: whose.
    """

    why: str
    example: str
    students: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hurdle:
    """A criterion, and what the class made of it.

    Attributes:
        id: the criterion's.
        says: what it asked one of them for.
        points: what it gives.
        met: how many met it.
        missed: how many did not.
        held_back: for how many it was not looked at, since another was not met.
        reasons: why it was missed, the most frequent first.
    """

    id: str
    says: str
    points: int
    met: int
    missed: int
    held_back: int
    reasons: tuple[Reason, ...]

    @property
    def share(self) -> float:
        """Of those that it was looked at for, how many met it: 0 to 1."""
        return self.met / max(1, self.met + self.missed)


@dataclass(frozen=True, slots=True)
class TaskView:
    """An exercise, and what the class made of it.

    Attributes:
        task: the exercise.
        scores: how many got how many points, by points.
        graded: how many were graded.
        refused: how many were refused.
        refusals: why, the most frequent first.
        not_graded: how many could not be graded.
        missing: how many have not handed in.
        hurdles: the criteria, in the exercise's order.
    """

    task: Task
    scores: dict[int, int]
    graded: int
    refused: int
    refusals: tuple[Reason, ...]
    not_graded: int
    missing: int
    hurdles: tuple[Hurdle, ...]

    @property
    def mean(self) -> float | None:
        """The mean of the points of all that were graded or refused; None if there are none."""
        number = sum(self.scores.values())
        return (
            sum(points * many for points, many in self.scores.items()) / number if number else None
        )

    @property
    def hardest(self) -> Hurdle | None:
        """The criterion that the fewest met of those that it was looked at for."""
        missed = [hurdle for hurdle in self.hurdles if hurdle.missed]
        return min(missed, key=lambda hurdle: hurdle.share, default=None)


def views(book: Gradebook) -> list[TaskView]:
    """Each exercise of a gradebook."""
    return [_view(book, task) for task in book.tasks]


def _view(book: Gradebook, task: Task) -> TaskView:
    grades = [grade for grade in book.grades if grade.exercise == task.name]
    graded = [grade for grade in grades if grade.outcome is Outcome.GRADED]
    refused = [grade for grade in grades if grade.outcome is Outcome.REFUSED]
    scores = Counter(grade.score for grade in grades if grade.score is not None)
    ids = list(dict.fromkeys(each.id for grade in graded for each in grade.criteria))
    handed_in = {grade.student for grade in grades}
    return TaskView(
        task,
        dict(sorted(scores.items())),
        len(graded),
        len(refused),
        _reasons((grade.student, _first(grade.reason)) for grade in refused),
        len(grades) - len(graded) - len(refused),
        sum(student not in handed_in for student in book.students),
        tuple(_hurdle(id_, graded) for id_ in ids),
    )


def _hurdle(id_: str, graded: Iterable[Grade]) -> Hurdle:
    found: list[tuple[str, CriterionResult]] = [
        (grade.student, each) for grade in graded for each in grade.criteria if each.id == id_
    ]
    states = Counter(each.state for _, each in found)
    _, first = found[0]
    return Hurdle(
        id_,
        first.says,
        first.points,
        states[State.PASSED],
        states[State.FAILED],
        states[State.HELD_BACK],
        _reasons((who, each.why) for who, each in found if each.state is State.FAILED),
    )


def _reasons(told: Iterable[tuple[str, str]]) -> tuple[Reason, ...]:
    alike: dict[str, list[tuple[str, str]]] = {}
    for student, why in told:
        alike.setdefault(_SEVERAL.sub("…", _OWN.sub("…", why)), []).append((student, why))
    often = sorted(alike.items(), key=lambda item: (-len(item[1]), item[0]))[:_MOST_REASONS]
    return tuple(
        Reason(why, same[0][1], tuple(student for student, _ in same)) for why, same in often
    )


def _first(refusal: str) -> str:
    """The first finding of a refusal: how many there are differs from one student to the next."""
    heading, _, rest = refusal.partition(":")
    return rest.strip().partition("\n")[0] or heading
