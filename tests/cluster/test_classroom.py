"""A class on a real cluster: poison is one submission's matter, and what is done is done."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path

import pytest
from kubernetes.client import CoreV1Api

from servicelab.cluster import Cluster, all_leases
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

HOSTILE = Path(__file__).parents[1] / "hostile"
CLUSTER = "servicelab-class"
KILLED_AFTER = 15
"""Grades of thirty."""
#: A class: student, exercise, what is handed in (of the exercise's folder, a poison, or of
#: tests/hostile), and the points that it must get; None for a refusal.
MIXED: tuple[tuple[str, str, str, int | None], ...] = (
    ("s01", "a-chosen-node-port", "solution", 10),
    ("s02", "a-chosen-node-port", "wrong/any-number", 6),
    ("s03", "a-port-nobody-listens-on", "other-solutions/by-name", 10),
    ("s04", "a-port-nobody-listens-on", "wrong/swapped", 0),
    ("s05", "expose-a-deployment", "solution", 10),
    ("s06", "expose-a-deployment", "wrong/decoys", 3),
    ("s07", "expose-a-deployment", "wrong/same-port", 6),
    ("s08", "expose-a-deployment", "starter", 0),
    ("s09", "mend-the-selector", "solution", 10),
    ("s10", "mend-the-selector", "other-solutions/two-labels", 10),
    ("s11", "mend-the-selector", "wrong/everybody", 0),
    ("s12", "mend-the-selector", "wrong/other-port", 6),
    ("s13", "out-of-range", "solution", 10),
    ("s14", "out-of-range", "wrong/one-too-low", None),
    ("s15", "a-name-for-each-pod", "solution", 10),
    ("s16", "a-name-for-each-pod", "wrong/names-below-another", 4),
    ("s17", "a-name-in-another-namespace", "solution", 10),
    ("s18", "a-name-in-another-namespace", "starter", 0),
    ("s19", "move-in-behind-a-name", "wrong/headless", 5),
    ("s20", "never-ready", "wrong/nobody-asks", 6),
    ("s21", "one-client-one-pod", "wrong/minutes-for-seconds", 7),
    ("s22", "tcp-and-udp", "wrong/one-target", 4),
    ("s23", "what-is-wrong-here", "wrong/only-the-probe", 3),
    ("s24", "whose-address", "wrong/both-policies", 7),
    ("s25", "expose-a-deployment", "poison/eats-memory", 0),
    ("s26", "expose-a-deployment", "poison/too-much", 0),
    ("s27", "expose-a-deployment", "hostile/privileged", None),
    ("s28", "mend-the-selector", "hostile/billion-laughs", None),
    ("s29", "mend-the-selector", "hostile/external-ips", None),
    ("s30", "mend-the-selector", "hostile/python-tag", None),
)


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


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """What the thirty hand in."""
    root = tmp_path / "submissions"
    for student, name, what, _ in MIXED:
        exercise = find_exercise(name)
        folder = root / student / name
        kind, _, which = what.partition("/")
        if kind == "hostile":
            shutil.copytree(HOSTILE / which, folder, ignore=shutil.ignore_patterns("expect.toml"))
            continue
        source = exercise.folder / ("solution" if kind == "poison" else what)
        for path in Sheet(exercise, student).write(source, folder):
            before, after = POISONS[which] if kind == "poison" else ("", "")
            path.write_text(path.read_text().replace(before, after) if before else path.read_text())
    return root


def grading(submissions: Path, results: Path, *options: str) -> subprocess.Popen[str]:
    """`servicelab grade-all` as a process of its own."""
    return subprocess.Popen(
        [
            sys.executable, "-m", "servicelab", "grade-all", str(submissions), "--workers=4",
            f"--cluster-name={CLUSTER}", f"--results={results}", *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )  # fmt: skip


def whose(line: str) -> str:
    """The student that a line of `grade-all` is about."""
    return line.partition("(")[2].partition(")")[0]


def points(written: Path) -> dict[str, int | str | None]:
    """What each got, of the JSON that a run wrote; None for a refusal."""
    grades = json.loads(written.read_text())["grades"]
    return {
        each["student"]: {"graded": each["score"], "refused": None}.get(
            each["outcome"], each["reason"]
        )
        for each in grades
    }


@pytest.mark.slow
def test_thirty_get_what_they_must_and_the_same_after_a_kill(mixed: Path, tmp_path: Path) -> None:
    """Thirty mixed submissions, twice; the second run is killed amid its work, and resumed.

    The killed one has lost nothing that it told of, and leaves no cluster behind.
    """
    due = {student: score for student, _, _, score in MIXED}
    first = grading(mixed, tmp_path / "first", f"--json={tmp_path / 'first.json'}")
    first.communicate()

    assert first.returncode == 0
    assert points(tmp_path / "first.json") == due

    second = grading(mixed, tmp_path / "second")
    lines = (line for line in second.stdout if line.startswith("["))
    done = {whose(line) for line in islice(lines, KILLED_AFTER)}
    second.kill()
    second.communicate()
    resumed = grading(mixed, tmp_path / "second", "--resume", f"--json={tmp_path / 'second.json'}")
    said, _ = resumed.communicate()

    assert resumed.returncode == 0
    assert points(tmp_path / "second.json") == due
    taken_over = {whose(line) for line in said.splitlines() if line.endswith("(taken over)")}
    # What is refused without a cluster is read again: that is as fast.
    assert done - {student for student in due if due[student] is None} <= taken_over
    assert len(done) == KILLED_AFTER
    assert taken_over
    assert [lease.cluster for lease in all_leases() if lease.cluster == CLUSTER] == []
