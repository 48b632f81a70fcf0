"""A class on a real cluster: poison is one submission's matter, and what is done is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from kubernetes.client import CoreV1Api

from servicelab.cluster import Cluster
from servicelab.grading.catalogue import find_exercise
from servicelab.grading.classroom import Gradebook, HandedIn, Roll, Shelf, collect, grade_class
from servicelab.grading.grader import Grader
from servicelab.grading.results import Grade, Outcome
from servicelab.grading.sheet import Sheet

pytestmark = pytest.mark.docker

EXERCISE = "expose-a-deployment"
SERVES = "- netexec\n        - --http-port=80"
#: What makes a solution a poison: what its container does, or asks for.
POISONS: dict[str, tuple[str, str]] = {
    "crashes": (SERVES, "- no-such-command"),
    "eats-memory": (SERVES, "- stress\n        - --mem-total=8Gi\n        - --mem-alloc-size=64Mi"),
    "never-ready": ("resources: {}", "readinessProbe: {tcpSocket: {port: 1}}"),
    "refused": ("spec:\n      containers", "spec:\n      hostNetwork: true\n      containers"),
    "too-much": ("resources: {}", "resources: {limits: {memory: 64Gi}}"),
}
HONEST = ("ann", "ben", "cem")


@pytest.fixture
def roll(tmp_path: Path) -> Roll:
    """Three who have solved it, and those who do harm."""
    exercise = find_exercise(EXERCISE)
    root = tmp_path / "submissions"
    for student in (*POISONS, *HONEST):
        written = Sheet(exercise, student).write(exercise.folder / "solution", root / student)
        for path in written:
            before, after = POISONS.get(student, ("", ""))
            path.write_text(path.read_text().replace(before, after) if before else path.read_text())
    return collect(root, [exercise], one=True)


def opening(cluster: Cluster) -> Callable[[], AbstractContextManager[Grader]]:
    """What opens a grader on the session's cluster."""

    @contextmanager
    def open_grader() -> Iterator[Grader]:
        with Grader(cluster) as grader:
            yield grader

    return open_grader


def never() -> AbstractContextManager[Grader]:
    """For a run that needs no cluster."""
    raise AssertionError("a cluster was asked for")


def test_poison_is_one_submissions_matter(
    kind_cluster: Cluster, roll: Roll, tmp_path: Path
) -> None:
    """The honest get full marks beside it; a second run takes all over without a cluster."""
    shelf = Shelf(tmp_path / "grades")

    grades = grade_class(roll.handed_in, shelf, opening(kind_cluster), workers=3)

    by_student = {grade.student: grade for grade in grades}
    told = {student: (str(grade.outcome), grade.score) for student, grade in by_student.items()}
    assert [told[student] for student in HONEST] == [("graded", 10)] * 3, told
    assert by_student["refused"].outcome is Outcome.REFUSED
    assert "hostNetwork" in by_student["refused"].reason
    for student in ("crashes", "eats-memory", "never-ready", "too-much"):
        assert by_student[student].outcome is Outcome.GRADED, by_student[student].reason
        # A busy node is late to say that a container has ended: its Pods were Ready till then.
        assert by_student[student].score <= (3 if student == "crashes" else 0)

    taken: list[str] = []

    def note(each: HandedIn, grade: Grade, taken_over: bool) -> None:
        if taken_over:
            taken.append(each.student)

    again = grade_class(roll.handed_in, shelf, never, workers=3, resume=True, told=note)

    kept = {grade.student: grade.to_json() for grade in again}
    assert all(kept[each.student] == each.to_json() for each in grades if each.submission)
    assert set(taken) == {*HONEST, *POISONS} - {"refused"}
    assert Gradebook.of(roll, again).points("ann") == 10
    names = [each.metadata for each in CoreV1Api(kind_cluster.client).list_namespace().items]
    assert [
        each.name
        for each in names
        if each.name.startswith(f"grade-{EXERCISE}") and each.deletion_timestamp is None
    ] == []
