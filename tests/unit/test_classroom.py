"""A class is graded: each result is kept at once, and nobody waits for another's mistake."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from servicelab.errors import InfrastructureError, UsageError
from servicelab.grading.classroom import Gradebook, HandedIn, Roll, Shelf, collect, grade_class
from servicelab.grading.classroom.commands import write_book
from servicelab.grading.classroom.gradebook import Task, merge, read
from servicelab.grading.classroom.page import render
from servicelab.grading.classroom.struggles import views
from servicelab.grading.classroom.submissions import parse_shard, shard_of
from servicelab.grading.exercise import Exercise, load
from servicelab.grading.intake.gathering import gather
from servicelab.grading.intake.taking import digest_of
from servicelab.grading.results import CriterionResult, Grade, Outcome, State
from servicelab.verdict import deadlines

EXERCISE = """\
title: An exercise
difficulty: easy
criteria:
  - {id: answers, says: it answers, points: 2, check: {answers: {service: web, port: 80}}}
  - {id: follows, says: it follows, points: 3, needs: [answers],
     check: {answers: {service: web, port: 80}}}
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n"
FIXED = SERVICE.replace("{port: 80}", "{port: 80, nodePort: 30080}").replace(
    "spec: {", "spec: {type: NodePort, "
)
HOSTILE = SERVICE.replace("spec: {", "spec: {externalIPs: [10.96.0.1], ")


@pytest.fixture
def exercise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exercise:
    """An exercise; its checks are never made here."""
    monkeypatch.setattr("servicelab.grading.vocabulary.check_use", lambda word, arguments: "")
    folder = tmp_path / "exercises" / "first"
    folder.mkdir(parents=True)
    (folder / "exercise.yaml").write_text(EXERCISE)
    return load(folder)


class FakeGrader:
    """Grades without a cluster: everybody gets all points, unless they are told otherwise."""

    def __init__(self, **does: Callable[[], object]) -> None:
        self.does = does
        self.graded: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.opened = 0
        self._lock = threading.Lock()

    def grade(self, exercise: Exercise, path: Path, *, student: str = "") -> Grade:
        """Do what the student makes happen, then give full marks."""
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.does.get(student, lambda: None)()
        finally:
            with self._lock:
                self.at_once -= 1
                self.graded.append(student)
        return Grade(
            exercise=exercise.name,
            title=exercise.title,
            student=student,
            outcome=Outcome.GRADED,
            criteria=results(),
            possible=exercise.possible,
            submission=digest_of(gather(path).files),
            version=exercise.version,
        )

    @contextmanager
    def _open(self) -> Iterator[FakeGrader]:
        self.opened += 1
        yield self

    def open(self) -> AbstractContextManager[FakeGrader]:
        """As a cluster is opened."""
        return self._open()


def results(answers: State = State.PASSED, why: str = "") -> tuple[CriterionResult, ...]:
    """What became of the exercise's criteria."""
    follows = State.PASSED if answers is State.PASSED else State.HELD_BACK
    return (
        CriterionResult("answers", "it answers", 2, answers, why=why),
        CriterionResult("follows", "it follows", 3, follows, needs=("answers",)),
    )


def hand_in(folder: Path, **manifests: str) -> Path:
    """A folder of submissions, one file for each student."""
    folder.mkdir(exist_ok=True)
    for student, text in manifests.items():
        (folder / f"{student}.yaml").write_text(text)
    return folder


@pytest.fixture
def roll(tmp_path: Path, exercise: Exercise) -> Roll:
    """Six students, of whom one is up to no good."""
    students = {f"s{number}": SERVICE for number in range(5)}
    root = hand_in(tmp_path / "submissions", **students, evil=HOSTILE)
    return collect(root, [exercise], one=True)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Where grades are kept."""
    return Shelf(tmp_path / "grades")


def test_everybody_gets_a_grade(roll: Roll, shelf: Shelf) -> None:
    """In the roll's order; who is refused needs no cluster and hears of it first."""
    grader, told = FakeGrader(), []
    grades = grade_class(
        roll.handed_in,
        shelf,
        grader.open,
        workers=2,
        told=lambda each, grade, taken_over: told.append(each.student),
    )

    assert [grade.student for grade in grades] == ["evil", "s0", "s1", "s2", "s3", "s4"]
    assert [grade.score for grade in grades] == [0, 5, 5, 5, 5, 5]
    assert grades[0].outcome is Outcome.REFUSED
    assert told[0] == "evil"
    assert grader.most_at_once <= 2
    assert "evil" not in grader.graded


def test_without_need_there_is_no_cluster(tmp_path: Path, exercise: Exercise, shelf: Shelf) -> None:
    """If everybody is refused, nothing is started."""
    roll = collect(hand_in(tmp_path / "submissions", evil=HOSTILE), [exercise], one=True)
    grader = FakeGrader()

    grade_class(roll.handed_in, shelf, grader.open, workers=2)

    assert grader.opened == 0


def test_a_second_run_takes_over_what_has_not_changed(
    roll: Roll, shelf: Shelf, tmp_path: Path
) -> None:
    """Who has handed in something else is graded anew, and so is everybody with another seed."""
    grade_class(roll.handed_in, shelf, FakeGrader().open, workers=2)
    (tmp_path / "submissions" / "s1.yaml").write_text(f"# better\n{SERVICE}")

    again = FakeGrader()
    grade_class(roll.handed_in, shelf, again.open, workers=2, resume=True)
    anew = FakeGrader()
    grade_class(roll.handed_in, shelf, anew.open, workers=2)
    other = FakeGrader()
    grade_class(
        roll.handed_in, dataclasses.replace(shelf, seed="b"), other.open, workers=2, resume=True
    )

    assert again.graded == ["s1"]
    assert sorted(anew.graded) == sorted(other.graded) == ["s0", "s1", "s2", "s3", "s4"]


def test_another_version_of_the_exercise_is_graded_anew(roll: Roll, shelf: Shelf) -> None:
    """Results of two versions can't be compared."""
    grade_class(roll.handed_in, shelf, FakeGrader().open, workers=2)
    (roll.exercises[0].folder / "task.md").write_text("now with a task")
    changed = load(roll.exercises[0].folder)
    handed_in = [dataclasses.replace(each, exercise=changed) for each in roll.handed_in]

    again = FakeGrader()
    grade_class(handed_in, shelf, again.open, workers=2, resume=True)

    assert len(again.graded) == 5


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", '{"seed": "", "grade": {"format": 99}}', "nul\0"]
)
def test_a_damaged_result_is_no_result(roll: Roll, shelf: Shelf, damage: str) -> None:
    """It is graded anew, whatever stands there."""
    grade_class(roll.handed_in, shelf, FakeGrader().open, workers=2)
    for path in shelf.root.rglob("*.json"):
        path.write_text(damage)

    again = FakeGrader()
    grade_class(roll.handed_in, shelf, again.open, workers=2, resume=True)

    assert len(again.graded) == 5


def test_a_grader_that_fails_for_one_fails_for_nobody_else(roll: Roll, shelf: Shelf) -> None:
    """It costs no points, is said in a sentence, and is tried again by the next run."""

    def fail() -> None:
        raise RuntimeError("a mistake\x1b[2J of ours")

    grades = grade_class(roll.handed_in, shelf, FakeGrader(s2=fail).open, workers=2)

    assert [grade.score for grade in grades] == [0, 5, 5, None, 5, 5]
    assert grades[3].reason == r"the grader failed: RuntimeError: a mistake\x1b[2J of ours"
    again = FakeGrader()
    grade_class(roll.handed_in, shelf, again.open, workers=2, resume=True)
    assert again.graded == ["s2"]


def test_one_that_never_ends_is_given_up(roll: Roll, shelf: Shelf) -> None:
    """After its time, and the others go on meanwhile; what it says later counts no more."""
    hangs = threading.Event()
    grader = FakeGrader(s0=hangs.wait)
    before = deadlines.use(deadlines.parse(["graded_in_all=1", "graded_around=1"]))
    try:
        grades = grade_class(roll.handed_in, shelf, grader.open, workers=2)
    finally:
        deadlines.use(before)
        hangs.set()

    assert [grade.score for grade in grades] == [0, None, 5, 5, 5, 5]
    assert grades[1].reason == "it had not ended after 2 s, and was given up"


def test_two_that_want_the_same_node_port_take_turns(
    tmp_path: Path, exercise: Exercise, shelf: Shelf
) -> None:
    """A cluster gives a number out once: that is nobody's fault, and the others don't wait."""
    root = hand_in(tmp_path / "submissions", a=FIXED, b=FIXED, c=FIXED, d=SERVICE)
    roll = collect(root, [exercise], one=True)
    together: list[int] = []
    fixed = threading.Semaphore(1)

    def alone() -> None:
        together.append(int(not fixed.acquire(blocking=False)))
        time.sleep(0.05)
        fixed.release()

    grader = FakeGrader(a=alone, b=alone, c=alone)
    grade_class(roll.handed_in, shelf, grader.open, workers=4)

    assert together == [0, 0, 0]
    assert grader.most_at_once == 2


def test_an_interrupted_run_stops_at_once(roll: Roll, shelf: Shelf) -> None:
    """Nobody waits for what has not begun, and what is done is on the shelf."""
    hangs = threading.Event()

    def interrupt(each: HandedIn, grade: Grade, taken_over: bool) -> None:
        if each.student == "s1":
            raise KeyboardInterrupt

    grader = FakeGrader(s0=hangs.wait)
    with pytest.raises(KeyboardInterrupt):
        grade_class(roll.handed_in, shelf, grader.open, workers=2, told=interrupt)
    hangs.set()

    assert sorted(path.name for path in shelf.root.rglob("*.json")) == ["evil.json", "s1.json"]


def test_without_a_cluster_nobody_loses_points(roll: Roll, shelf: Shelf) -> None:
    """Who is refused is refused; the others could not be graded."""

    @contextmanager
    def broken() -> Iterator[FakeGrader]:
        raise InfrastructureError("there is no engine")
        yield

    grades = grade_class(roll.handed_in, shelf, broken, workers=2)

    assert [str(grade.outcome) for grade in grades] == ["refused", *["could not grade"] * 5]
    assert {grade.reason for grade in grades[1:]} == {"there is no engine"}


def test_a_run_that_is_killed_loses_nothing_that_was_done(
    roll: Roll, shelf: Shelf, tmp_path: Path
) -> None:
    """SIGKILL in the middle: the next run takes over each finished one, and finishes the rest."""
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_classroom import *
import servicelab.grading.vocabulary as vocabulary
vocabulary.check_use = lambda word, arguments: ""
exercise = load(Path({str(roll.exercises[0].folder)!r}))
roll = collect(Path({str(tmp_path / "submissions")!r}), [exercise], one=True)
def told(each, grade, taken_over):
    print(each.student, flush=True)
grader = FakeGrader(s3=lambda: time.sleep(60))
grade_class(roll.handed_in, Shelf(Path({str(shelf.root)!r})), grader.open, workers=1, told=told)
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    told = [run.stdout.readline().strip() for _ in range(4)]
    os.kill(run.pid, signal.SIGKILL)
    run.wait()

    again = FakeGrader()
    taken: list[str] = []
    grades = grade_class(
        roll.handed_in,
        shelf,
        again.open,
        workers=1,
        resume=True,
        told=lambda each, grade, over: taken.append(each.student) if over else None,
    )

    assert told == ["evil", "s0", "s1", "s2"]
    assert sorted(taken) == ["s0", "s1", "s2"]
    assert again.graded == ["s3", "s4"]
    assert [grade.score for grade in grades] == [0, 5, 5, 5, 5, 5]


# Who handed in what.


def test_students_may_have_a_folder_with_exercises(tmp_path: Path, exercise: Exercise) -> None:
    """Each entry is an exercise; who has not handed one in is known by name."""
    second = dataclasses.replace(exercise, name="second")
    third = dataclasses.replace(exercise, name="third")
    root = tmp_path / "submissions"
    for path in ("ann/first/web.yaml", "ann/second.yaml", "bob/first.yml", "bob/notes.txt"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(SERVICE)
    (root / "read me.txt").write_text("")
    (root / "eve").symlink_to("/etc")

    roll = collect(root, [exercise, second, third], one=False)

    assert [each.key for each in roll.handed_in] == [
        ("ann", "first"),
        ("ann", "second"),
        ("bob", "first"),
    ]
    assert [each.name for each in roll.exercises] == ["first", "second"]
    assert [(student, each.name) for student, each in roll.missing] == [("bob", "second")]
    assert sorted(roll.passed_over) == [
        "bob/notes.txt: no exercise of that name",
        "eve: no folder of a student",
        "read me.txt: no manifest by its name",
    ]


def test_one_who_hands_in_twice_is_told(tmp_path: Path, exercise: Exercise) -> None:
    """Nobody guesses which one counts."""
    root = hand_in(tmp_path / "submissions", ann=SERVICE)
    (root / "ann.yml").write_text(SERVICE)

    with pytest.raises(UsageError, match=r"ann has handed in first twice: ann\.yaml and ann\.yml"):
        collect(root, [exercise], one=True)


def test_no_folder_is_a_sentence(tmp_path: Path, exercise: Exercise) -> None:
    """A path that is none is the caller's mistake."""
    with pytest.raises(UsageError, match="can't be read"):
        collect(tmp_path / "none", [exercise], one=True)


def test_shards_part_a_class(roll: Roll) -> None:
    """Everybody is in one part, and stays in it whoever else is there."""
    parts = [roll.shard(number, 3) for number in (1, 2, 3)]

    assert sorted(student for part in parts for student in part.students) == sorted(roll.students)
    assert sum(len(part.handed_in) for part in parts) == len(roll.handed_in)
    assert shard_of("ann", 4) == shard_of("ann", 4)
    many = [shard_of(f"student-{number}", 4) for number in range(400)]
    assert all(70 < many.count(number) < 130 for number in (1, 2, 3, 4))


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "a/b", "1/", "-1/2", "1/9999"])
def test_a_wrong_shard_is_a_sentence(text: str) -> None:
    """Its form is said."""
    with pytest.raises(UsageError, match="write NUMBER/OF"):
        parse_shard(text)


# What they got.


def book(*grades: Grade, students: tuple[str, ...] = ()) -> Gradebook:
    """A gradebook of one exercise."""
    everybody = students or tuple(grade.student for grade in grades)
    return Gradebook((Task("first", "An exercise", 5, "v1"),), everybody, grades)


def grade(
    student: str, outcome: Outcome = Outcome.GRADED, why: str = "", *, at: float = 0.0
) -> Grade:
    """A grade; one with a reason misses the first criterion."""
    criteria = results(State.FAILED if why else State.PASSED, why)
    graded = outcome is Outcome.GRADED
    return Grade(
        exercise="first",
        title="An exercise",
        student=student,
        outcome=outcome,
        criteria=criteria if graded else (),
        possible=5,
        reason="" if graded else why,
        version="v1",
        graded_at=at,
    )


def test_the_csv_is_for_a_gradebook() -> None:
    """One row a student; what could not be graded is empty, what was not handed in is 0."""
    found = book(
        grade("ann"),
        grade("bob", why="nobody answers"),
        grade("eve", Outcome.REFUSED, "privileged"),
        grade("kim", Outcome.NOT_GRADED, "no cluster"),
        students=("ann", "bob", "eve", "kim", "zoe"),
    )
    rows = list(csv.reader(io.StringIO(found.to_csv())))

    assert rows == [
        ["student", "first", "first outcome", "points", "possible"],
        ["ann", "5", "graded", "5", "5"],
        ["bob", "0", "graded", "0", "5"],
        ["eve", "0", "refused", "0", "5"],
        ["kim", "", "could not grade", "", "5"],
        ["zoe", "0", "not handed in", "0", "5"],
    ]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", '=HYPERLINK("x","y")'])
def test_a_name_is_no_formula(name: str) -> None:
    """A spreadsheet that opens the gradebook computes nothing that a student wrote."""
    rows = list(csv.reader(io.StringIO(book(grade(name)).to_csv())))

    assert rows[1][0] == f"'{name}"


def test_json_is_read_back(tmp_path: Path) -> None:
    """What merge reads is what grade-all writes."""
    found = book(grade("ann"), grade("bob", why="nobody answers"))
    path = tmp_path / "all.json"
    write_book(found, csv=None, json_file=path, html=None)

    assert read(path) == found


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "exercises": [1]}', "[" * 100_000]
)
def test_what_is_no_gradebook_is_a_sentence(tmp_path: Path, text: str) -> None:
    """Whatever the file holds."""
    path = tmp_path / "all.json"
    path.write_text(text)

    with pytest.raises(UsageError, match="is no gradebook"):
        read(path)


def test_parts_are_put_together() -> None:
    """Of two grades for one submission the one that says something is taken, then the later."""
    merged = merge(
        [
            ("a", book(grade("bob", at=3), grade("ann", Outcome.NOT_GRADED, at=9))),
            ("b", book(grade("ann", why="no", at=1), grade("bob", why="no", at=2))),
            ("c", book(grade("cat"), students=("cat", "dan"))),
        ]
    )

    assert merged.students == ("ann", "bob", "cat", "dan")
    assert [(each.student, each.score) for each in merged.grades] == [
        ("ann", 0),
        ("bob", 5),
        ("cat", 5),
    ]


def test_parts_of_two_courses_are_not_put_together() -> None:
    """Another version of an exercise, or another seed, gives other numbers."""
    ours = book(grade("ann"))
    changed = dataclasses.replace(ours.tasks[0], version="v2")

    with pytest.raises(UsageError, match="b has another version of the exercise first"):
        merge([("a", ours), ("b", dataclasses.replace(ours, tasks=(changed,)))])
    with pytest.raises(UsageError, match="a and b are of courses with different seeds"):
        merge([("a", ours), ("b", dataclasses.replace(ours, seed="x"))])


def test_where_the_class_struggled_is_found() -> None:
    """The hardest criterion, and its most frequent reason whatever each one's names are."""
    [view] = views(
        book(
            grade("ann"),
            grade(
                "bob", why="Pods barley-7f3a and barley-9c of barley do not answer on 10.0.0.1:8080"
            ),
            grade(
                "cat",
                why="Pods cedar-12bc, cedar-1 and cedar-22 of cedar do not answer on 10.0.0.9:8123",
            ),
            grade("dan", why="there is no Service"),
            grade("eve", Outcome.REFUSED, "not taken in: web.yaml line 7, spec.a: privileged"),
            grade(
                "fay", Outcome.REFUSED, "not taken in:\n  web.yaml line 9, spec.a: privileged\n  b"
            ),
            grade("gus", Outcome.REFUSED, "not taken in: no manifest"),
        )
    )

    assert view.hardest is not None
    assert (view.hardest.id, view.hardest.met, view.hardest.missed) == ("answers", 1, 3)
    assert [len(each.students) for each in view.hardest.reasons] == [2, 1]
    assert view.hurdles[1].held_back == 3
    assert (view.refused, [len(each.students) for each in view.refusals]) == (3, [2, 1])
    assert view.scores == {0: 6, 5: 1}
    assert view.mean == pytest.approx(5 / 7)


def test_the_page_holds_text_only() -> None:
    """Names and reasons can be neither markup, nor script, nor steer anything."""
    evil = "<script>alert('x')</script>\u202e\x1b[2J"
    html = render(book(grade(evil, why=evil), grade("ann", Outcome.REFUSED, evil)))

    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "default-src 'none'" in html


def test_a_class_of_five_hundred_is_one_small_page() -> None:
    """It is sent around and read on phones."""
    students = [grade(f"student-{n}", why=f"Pod web-{n} is not ready") for n in range(500)]

    assert len(render(book(*students))) < 500_000


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """The grades are on the shelf all the same."""
    with pytest.raises(UsageError, match="can't be written"):
        write_book(book(grade("ann")), csv=tmp_path, json_file=None, html=None)


def test_the_matrix_for_ci_is_json(tmp_path: Path) -> None:
    """`fromJSON` takes it as it is; parts without anybody are left out."""
    from typer.testing import CliRunner

    from servicelab.cli import app

    root = hand_in(tmp_path / "submissions", ann=SERVICE, bob=SERVICE)
    arguments = ["shards", str(root), "--exercise", "mend-the-selector", "--of", "50", "--json"]
    done = CliRunner().invoke(app, arguments)

    found = json.loads(done.stdout)["shard"]
    assert found == [
        f"{shard_of(student, 50)}/50"
        for student in sorted(("ann", "bob"), key=lambda student: shard_of(student, 50))
    ]
