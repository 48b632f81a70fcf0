"""A Pod of a grading Job: what it is told, what it keeps, and what it leaves to the next one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any

import pytest
from kubernetes.client import ApiException

from servicelab.errors import InfrastructureError, UsageError
from servicelab.grading.catalogue import find_exercise
from servicelab.grading.classroom.submissions import HandedIn
from servicelab.grading.job import worker
from servicelab.grading.job.parcels import HOLDS, parcel_of, parcel_of_exercise
from servicelab.grading.job.shelf import ClusterShelf, read_grade
from servicelab.grading.results import Grade, Outcome
from servicelab.grading.sheet import Sheet

EXERCISE = "mend-the-selector"


class FakeMaps:
    """The ConfigMaps of a namespace."""

    def __init__(self) -> None:
        self.maps: dict[str, dict[str, Any]] = {}
        self.fails = 0

    def add(self, body: dict[str, Any]) -> None:
        """Put one there."""
        self.maps[body["metadata"]["name"]] = body

    def create_namespaced_config_map(self, namespace: str, body: Any, **_: Any) -> None:
        """Make one, unless one of that name is there."""
        if self.fails:
            raise ApiException(status=self.fails, reason="Whatever")
        if body["metadata"]["name"] in self.maps:
            raise ApiException(status=409, reason="Conflict")
        self.add(body)

    def replace_namespaced_config_map(self, name: str, namespace: str, body: Any, **_: Any) -> None:
        """Put one over another."""
        assert name in self.maps
        self.add(body)

    def read_namespaced_config_map(self, name: str, namespace: str, **_: Any) -> Any:
        """One by its name."""
        if name not in self.maps:
            raise ApiException(status=404, reason="Not Found")
        return self._object(self.maps[name])

    def list_namespaced_config_map(self, namespace: str, *, label_selector: str, **_: Any) -> Any:
        """Those with the labels."""
        wanted = dict(each.split("=") for each in label_selector.split(","))
        return Object(
            items=[
                self._object(each)
                for each in self.maps.values()
                if wanted.items() <= each["metadata"]["labels"].items()
            ]
        )

    @staticmethod
    def _object(body: dict[str, Any]) -> Any:
        return Object(metadata=Object(**body["metadata"]), data=body["data"])


@pytest.fixture
def maps() -> FakeMaps:
    """An empty namespace."""
    return FakeMaps()


@pytest.fixture
def shelf(maps: FakeMaps) -> ClusterShelf:
    """Where the Pods of a Job keep grades."""
    return ClusterShelf(maps, "job", "seed")  # type: ignore[arg-type]


def handed_in(folder: Path, student: str = "ann") -> HandedIn:
    """The exercise's own solution, as a student's."""
    exercise = find_exercise(EXERCISE)
    Sheet(exercise, student).write(exercise.folder / "solution", folder / student)
    return HandedIn(student, exercise, folder / student)


def grade_of(each: HandedIn, outcome: Outcome = Outcome.GRADED) -> Grade:
    """A grade of it."""
    name = each.exercise.name
    return Grade(name, "T", each.student, outcome, submission="d" * 64, reason="ä ☃")


def test_a_grade_is_found_by_the_next_pod(shelf: ClusterShelf, tmp_path: Path) -> None:
    """If it says something, and the submission is the same; else it is graded again."""
    each = handed_in(tmp_path, "Zoë; rm -rf /")
    shelf.keep(each, grade_of(each, Outcome.NOT_GRADED))
    assert shelf.find(each, "d" * 64) is None

    shelf.keep(each, grade_of(each))

    assert shelf.find(each, "d" * 64) == grade_of(each)
    assert shelf.find(each, "e" * 64) is None
    assert shelf.find(handed_in(tmp_path, "ben"), "d" * 64) is None


def test_a_grade_that_can_t_be_kept_is_told(
    shelf: ClusterShelf, maps: FakeMaps, tmp_path: Path
) -> None:
    """The Pod fails, and the next one grades again."""
    maps.fails = 500

    with pytest.raises(InfrastructureError, match="the grade of ann can't be kept"):
        shelf.keep(handed_in(tmp_path), grade_of(handed_in(tmp_path / "again")))


def test_no_student_s_name_is_the_name_of_an_object(shelf: ClusterShelf, maps: FakeMaps) -> None:
    """It would not be one that the API server takes, or another's."""
    exercise = find_exercise(EXERCISE)
    for student in ("kube-root-ca.crt", "../x", "\ud800", "ann"):
        each = HandedIn(student, exercise, Path())
        shelf.keep(each, dataclasses.replace(grade_of(each), reason=""))

    assert len(maps.maps) == 4
    assert all(name.startswith("grade-") and name.isascii() for name in maps.maps)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', "null"])
def test_what_is_no_grade_is_none(text: str) -> None:
    """A ConfigMap that somebody else wrote stops nobody."""
    assert read_grade(Object(data={"grade": text})) is None
    assert read_grade(Object(data=None)) is None


class FakeGrader:
    """Gives full marks."""

    def __init__(self) -> None:
        self.graded: list[str] = []

    def grade(self, exercise: Any, path: Path, *, student: str = "") -> Grade:
        """Everybody has solved it, and each file is there."""
        assert list(path.iterdir())
        self.graded.append(student)
        return Grade(exercise.name, exercise.title, student, Outcome.GRADED)


@pytest.fixture
def grader(maps: FakeMaps, monkeypatch: pytest.MonkeyPatch) -> FakeGrader:
    """This process as the Pod with the completion index 1, and what grades there."""
    fake = FakeGrader()

    @contextmanager
    def opened(cluster: Any, seed: str) -> Iterator[FakeGrader]:
        assert (cluster.name, cluster.registry, seed) == ("far", "registry.local", "s")
        yield fake

    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    monkeypatch.setattr("servicelab.cluster.in_cluster.client_of_pod", lambda: maps)
    monkeypatch.setattr("servicelab.cluster.in_cluster.own_namespace", lambda: "job")
    monkeypatch.setattr("kubernetes.client.CoreV1Api", lambda client: client)
    monkeypatch.setattr(worker, "_grader", opened)
    return fake


def settle(maps: FakeMaps, **more: Any) -> None:
    """What whoever makes the Job says."""
    said = {"cluster": "far", "registry": "registry.local", "seed": "s", "workers": 2}
    text = json.dumps({**said, "deadline_factor": 1.0, **more})
    labels = {HOLDS: "settings"}
    maps.add({"metadata": {"name": "settings", "labels": labels}, "data": {"settings": text}})


def test_a_pod_grades_its_part(maps: FakeMaps, grader: FakeGrader, tmp_path: Path) -> None:
    """That of its completion index, each with its own files; nobody else's."""
    settle(maps)
    maps.add(parcel_of_exercise(find_exercise(EXERCISE)).config_map("exercise-0"))
    for number, student in enumerate(("ann", "ben", "cem")):
        maps.add(
            parcel_of(handed_in(tmp_path, student)).config_map(
                f"submission-{number}", shard=1 if student == "ben" else 2
            )
        )

    assert worker.grade_shard() == 0

    assert sorted(grader.graded) == ["ann", "cem"]
    kept = [each for each in maps.maps.values() if each["metadata"]["labels"][HOLDS] == "grade"]
    assert len(kept) == 2


def test_a_part_may_be_empty(maps: FakeMaps, grader: FakeGrader) -> None:
    """Nobody's name need lead to it: it is done."""
    settle(maps)

    assert worker.grade_shard() == 0
    assert grader.graded == []


def test_a_submission_is_not_graded_twice(
    maps: FakeMaps, grader: FakeGrader, shelf: ClusterShelf, tmp_path: Path
) -> None:
    """A Pod goes on where the one before it was lost."""
    from servicelab.grading.offline import look_offline

    settle(maps)
    maps.add(parcel_of_exercise(find_exercise(EXERCISE)).config_map("exercise-0"))
    for number, student in enumerate(("ann", "ben")):
        maps.add(
            parcel_of(handed_in(tmp_path, student)).config_map(f"submission-{number}", shard=2)
        )
    ann = HandedIn("ann", find_exercise(EXERCISE), tmp_path / "ann")
    digest = look_offline(Sheet(ann.exercise, "ann", "s"), ann.path).grade.submission
    shelf.keep(ann, dataclasses.replace(grade_of(ann), submission=digest))

    worker.grade_shard()

    assert grader.graded == ["ben"]


@pytest.mark.parametrize("index", ["", "x", "-1"])
def test_only_a_pod_of_an_indexed_job_has_a_part(
    maps: FakeMaps, grader: FakeGrader, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    """Whoever types the command by hand is told which one makes such Pods."""
    monkeypatch.setenv("JOB_COMPLETION_INDEX", index)

    with pytest.raises(UsageError, match="grade-job"):
        worker.grade_shard()


def test_another_version_s_settings_are_told(maps: FakeMaps, grader: FakeGrader) -> None:
    """As a mistake of use, so that the Job ends at once."""
    settle(maps, unheard_of=1)

    with pytest.raises(UsageError, match="not of this servicelab"):
        worker.grade_shard()


def test_outside_a_pod_there_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told in a sentence."""
    from servicelab.cluster.in_cluster import client_of_pod, own_namespace

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UsageError, match="this is no Pod"):
        client_of_pod()
    with pytest.raises(UsageError, match="this is no Pod"):
        own_namespace()
