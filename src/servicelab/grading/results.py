"""What grading a submission gives: an outcome, a score, and a reason for every point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: Of the JSON that `Grade.to_json` writes; raised when a reader of the old form would be misled.
FORMAT = 1


class Outcome(StrEnum):
    """How grading ended; the three are told apart everywhere."""

    GRADED = "graded"
    """The submission was looked at, and has a score."""
    REFUSED = "refused"
    """The submission breaks a rule of the exercise or can't be read; nothing of it was applied."""
    NOT_GRADED = "could not grade"
    """The cluster or the grader failed; says nothing about the submission, and costs no points."""


class State(StrEnum):
    """What became of one criterion."""

    PASSED = "passed"
    FAILED = "failed"
    HELD_BACK = "held back"
    """Not looked at, because a criterion that it needs was not met."""


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """One criterion of an exercise, and what the cluster showed.

    Attributes:
        id: the criterion's.
        says: what it asks for, in a sentence.
        points: what it gives when it is met; 0 for one that only others need.
        state: what became of it.
        expected: what the cluster should have shown.
        actual: what it showed.
        why: why that is not enough; "" if it is.
        waited_for: what the check was waiting for when its time ran out; else "".
        needs: criteria that had to be met first.
        hints: how many hints there are for it.
        seconds: how long the check took.
    """

    id: str
    says: str
    points: int
    state: State
    expected: str = ""
    actual: str = ""
    why: str = ""
    waited_for: str = ""
    needs: tuple[str, ...] = ()
    hints: int = 0
    seconds: float = 0.0

    @property
    def earned(self) -> int:
        """Points that it gave."""
        return self.points if self.state is State.PASSED else 0

    def to_json(self) -> dict[str, Any]:
        """For the JSON of a grade; `from_json` reads it back."""
        return {
            "id": self.id,
            "says": self.says,
            "points": self.points,
            "earned": self.earned,
            "state": str(self.state),
            "expected": self.expected,
            "actual": self.actual,
            "why": self.why,
            "waited_for": self.waited_for,
            "needs": list(self.needs),
            "hints": self.hints,
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> CriterionResult:
        """Read back what `to_json` wrote."""
        values = {name: value for name, value in said.items() if name != "earned"}
        values |= {"state": State(said["state"]), "needs": tuple(said.get("needs", ()))}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Grade:
    """What grading one submission gave.

    Attributes:
        exercise: the exercise's name.
        title: the exercise's title.
        student: whose submission it is; "" for nobody's.
        outcome: graded, refused or could not grade.
        criteria: what became of each criterion, in the exercise's order; none unless graded.
        possible: the points that the exercise gives.
        reason: why it was refused or could not be graded, one sentence; "" if graded.
        remarks: what was noticed without a cluster; never costs points.
        seconds: how long it took.
        submission: SHA-256 of what was submitted, in hexadecimal; "" if it could not be read.
        version: the exercise's content, a digest in hexadecimal.
        kubernetes: the cluster's version; "" if none was asked.
        graded_at: seconds since the epoch.
    """

    exercise: str
    title: str
    student: str
    outcome: Outcome
    criteria: tuple[CriterionResult, ...] = ()
    possible: int = 0
    reason: str = ""
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0
    submission: str = ""
    version: str = ""
    kubernetes: str = ""
    graded_at: float = field(default=0.0, compare=False)

    @property
    def score(self) -> int | None:
        """Points; None if the submission could not be graded. A refused one has 0."""
        if self.outcome is Outcome.NOT_GRADED:
            return None
        return sum(each.earned for each in self.criteria)

    @property
    def is_full(self) -> bool:
        """Whether every criterion was met."""
        return self.outcome is Outcome.GRADED and all(
            each.state is State.PASSED for each in self.criteria
        )

    @property
    def exit_code(self) -> int:
        """0 full marks, 1 fewer, 3 could not grade, 4 refused."""
        if self.outcome is Outcome.NOT_GRADED:
            return 3
        if self.outcome is Outcome.REFUSED:
            return 4
        return 0 if self.is_full else 1

    def criterion(self, id_: str) -> CriterionResult:
        """One criterion's result.

        Raises:
            KeyError: there is none of that id.
        """
        for each in self.criteria:
            if each.id == id_:
                return each
        raise KeyError(id_)

    def to_json(self) -> dict[str, Any]:
        """The grade for a machine; `from_json` reads it back."""
        return {
            "format": FORMAT,
            "exercise": self.exercise,
            "title": self.title,
            "student": self.student,
            "outcome": str(self.outcome),
            "score": self.score,
            "possible": self.possible,
            "full": self.is_full,
            "reason": self.reason,
            "remarks": list(self.remarks),
            "criteria": [each.to_json() for each in self.criteria],
            "seconds": round(self.seconds, 3),
            "submission": self.submission,
            "version": self.version,
            "kubernetes": self.kubernetes,
            "graded_at": self.graded_at,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Grade:
        """Read back what `to_json` wrote.

        Raises:
            ValueError: it is of another format.
        """
        if said.get("format") != FORMAT:
            raise ValueError(f"a grade of format {said.get('format')!r} is not one of {FORMAT}")
        derived = {"format", "score", "full"}
        values = {name: value for name, value in said.items() if name not in derived}
        values |= {
            "outcome": Outcome(said["outcome"]),
            "criteria": tuple(map(CriterionResult.from_json, said["criteria"])),
            "remarks": tuple(said["remarks"]),
        }
        return cls(**values)


def total(criteria: Iterable[CriterionResult]) -> int:
    """The points that criteria give when all are met."""
    return sum(each.points for each in criteria)
