"""Exercises on a real cluster: the starter scores 0, solutions all, wrong answers what they must.

All submissions of all exercises are graded once, several at a time, each in namespaces of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from servicelab.cluster import Cluster
from servicelab.errors import InfrastructureError
from servicelab.grading.catalogue import all_exercises, exercise_names, find_exercise
from servicelab.grading.grader import Grader
from servicelab.grading.results import Grade, Outcome
from servicelab.grading.sheet import Sheet
from servicelab.grading.verifying import WORKERS, Verified, cases, verify

pytestmark = pytest.mark.docker

AGAIN = 20
MODEL = "mend-the-selector"


@pytest.fixture(scope="module")
def grader(kind_cluster: Cluster) -> Iterator[Grader]:
    """Grades on the session's cluster."""
    with Grader(kind_cluster) as grader:
        yield grader


@pytest.fixture(scope="module")
def verified(grader: Grader) -> dict[str, list[Verified]]:
    """What each submission of each exercise got."""
    found: dict[str, list[Verified]] = {}
    for each in verify(grader, [case for one in all_exercises() for case in cases(one)]):
        found.setdefault(each.case.exercise.name, []).append(each)
    return found


@pytest.mark.parametrize("name", exercise_names())
def test_every_submission_gets_what_it_must(verified: dict[str, list[Verified]], name: str) -> None:
    """The starter nothing, each solution everything, each wrong answer all but what it loses."""
    wrong = {str(each.case): each.problems for each in verified[name] if each.problems}

    assert not wrong
    assert len(verified[name]) == len(cases(find_exercise(name)))


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    """A wrong answer that loses some of the points."""
    exercise = find_exercise(MODEL)
    Sheet(exercise, "ann").write(exercise.folder / "wrong" / "other-port", tmp_path)
    return tmp_path


def test_the_same_submission_gets_the_same_every_time(grader: Grader, submission: Path) -> None:
    """Twenty times in a row, several at a time: one score, one state of each criterion."""
    exercise = find_exercise(MODEL)

    def once(number: int) -> Grade:
        return grader.grade(exercise, submission, student="ann")

    with ThreadPoolExecutor(WORKERS) as pool:
        grades = list(pool.map(once, range(AGAIN)))

    assert {(each.outcome, each.score, each.submission) for each in grades} == {
        (Outcome.GRADED, 6, grades[0].submission)
    }
    assert len({tuple(each.state for each in grade.criteria) for grade in grades}) == 1


def test_no_point_is_lost_where_the_cluster_does_not_work(
    grader: Grader, submission: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the course's own Service does not answer, a missed criterion says nothing."""

    def broken(*, pods: bool) -> None:
        raise InfrastructureError("the cluster does not do its work")

    monkeypatch.setattr(grader.control, "prove", broken)

    grade = grader.grade(find_exercise(MODEL), submission, student="ann")

    assert (grade.outcome, grade.score, grade.exit_code) == (Outcome.NOT_GRADED, None, 3)
    assert grade.reason == "the cluster does not do its work"


def test_a_check_that_runs_out_says_what_it_was_waiting_for(
    grader: Grader, submission: Path
) -> None:
    """A time too short for the cluster costs no points; the reason is what was waited for."""
    exercise = dataclasses.replace(find_exercise(MODEL), seconds=0.1)

    grade = grader.grade(exercise, submission, student="ann")

    assert grade.outcome is Outcome.NOT_GRADED
    assert "Pods of Deployment" in grade.reason
    assert "last saw" in grade.reason


def test_nothing_is_left_behind(grader: Grader, submission: Path) -> None:
    """A submission's namespace goes with its grade."""
    from kubernetes.client import CoreV1Api

    grader.grade(find_exercise(MODEL), submission, student="nobody-else")

    listed = CoreV1Api(grader.cluster.client).list_namespace().items
    left = [each for each in listed if "nobody-else" in each.metadata.name]
    assert all(each.status.phase == "Terminating" for each in left)
