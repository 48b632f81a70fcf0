"""A class graded by a Job in a cluster that servicelab is taken not to have made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import (
    AdmissionregistrationV1Api,
    CoreV1Api,
    RbacAuthorizationV1Api,
)

from servicelab.bundle.grader import grader_image
from servicelab.cluster import Cluster
from servicelab.cluster.existing import ExistingCluster
from servicelab.grading.catalogue import find_exercise
from servicelab.grading.classroom import HandedIn, Roll, Shelf, collect
from servicelab.grading.classroom.commands import grade_roll_as_job
from servicelab.grading.job import Order
from servicelab.grading.job.rights import DENIED
from servicelab.grading.job.stand import attempt, stand, sweep_killed
from servicelab.grading.results import Grade, Outcome
from servicelab.grading.sheet import Sheet
from servicelab.grading.verifying import Case, cases, differences
from servicelab.verdict import deadlines, eventually

pytestmark = pytest.mark.docker

MEND, EXPOSE, OUTSIDE = "mend-the-selector", "expose-a-deployment", "a-chosen-node-port"
#: Who hands in which of an exercise's own submissions. The names are as hostile as they get.
CLASS = {
    "ann": {MEND: "solution", EXPOSE: "solution"},
    "ben; rm -rf . $(id)": {MEND: "wrong/other-port"},
    "Zoë O'Neil": {MEND: "starter", EXPOSE: "solution", OUTSIDE: "solution"},
    "dan": {MEND: "wrong/everybody"},
}


@pytest.fixture(scope="module")
def graded_on(kind_cluster: Cluster) -> Cluster:
    """The session's cluster; its nodes have the grader's image."""
    kind_cluster.load_archive(kind_cluster.extras.archive(grader_image()))
    return kind_cluster


@pytest.fixture
def existing(graded_on: Cluster) -> Iterator[ExistingCluster]:
    """The same as a stranger sees it."""
    stranger = ExistingCluster(f"kind-{graded_on.name}", Path(graded_on.kubeconfig_path))
    yield stranger
    stranger.close()


def hand_in(root: Path, students: dict[str, dict[str, str]]) -> dict[tuple[str, str], Case]:
    """Write a class's submissions; returns what each must get."""
    written = {}
    for student, work in students.items():
        for name, which in work.items():
            exercise = find_exercise(name)
            [case] = [each for each in cases(exercise) if each.name == which]
            Sheet(exercise, student).write(case.folder, root / student / name)
            written[student, name] = case
    return written


def grade(
    cluster: ExistingCluster, roll: Roll, folder: Path, shards: int = 3
) -> dict[tuple[str, str], Grade]:
    """Grade a class as a Job; grades by student and exercise."""
    book = grade_roll_as_job(
        roll,
        cluster,
        Order(shards, shards, 2),
        results=folder / "grades",
        resume=False,
        image=grader_image(),
    )
    return book.by_student


def left_behind(cluster: Cluster) -> list[str]:
    """What a Job has left: of the cluster's own objects, and namespaces that nobody deletes."""
    rbac, admission = (
        RbacAuthorizationV1Api(cluster.client),
        AdmissionregistrationV1Api(cluster.client),
    )
    listed = [
        *rbac.list_cluster_role().items,
        *rbac.list_cluster_role_binding().items,
        *admission.list_validating_admission_policy().items,
        *admission.list_validating_admission_policy_binding().items,
        *(
            each
            for each in CoreV1Api(cluster.client).list_namespace().items
            if each.metadata.deletion_timestamp is None
        ),
    ]
    ours = ("grade-", "grading-")
    return [each.metadata.name for each in listed if each.metadata.name.startswith(ours)]


def test_everybody_gets_what_the_submission_was_written_to_get(
    graded_on: Cluster, existing: ExistingCluster, tmp_path: Path, capsys: Any
) -> None:
    """Three Pods grade as one grader does; what needs our nodes is not graded; all of it goes."""
    root = tmp_path / "submissions"
    expected = hand_in(root, CLASS)
    (root / "evil").mkdir()
    (root / "evil" / f"{MEND}.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
        "spec: {externalIPs: [10.96.0.1], ports: [{port: 80}]}\n"
    )
    roll = collect(root, [find_exercise(name) for name in (MEND, EXPOSE, OUTSIDE)], one=False)
    assert len({part for part in (1, 2, 3) if roll.shard(part, 3).handed_in}) == 3

    grades = grade(existing, roll, tmp_path)

    assert grades.pop(("evil", MEND)).outcome is Outcome.REFUSED
    not_asked = grades.pop(("Zoë O'Neil", OUTSIDE))
    assert not_asked.score is None
    assert f"is not asked of kind-{graded_on.name}" in not_asked.reason
    problems = {key: list(differences(expected[key], each)) for key, each in grades.items()}
    assert problems == {key: [] for key in expected if key[1] != OUTSIDE}
    told = capsys.readouterr().out
    assert all(f"[{number}/{len(roll.handed_in)}] " in told for number in range(1, 9))
    assert left_behind(graded_on) == []


def test_a_lost_pods_part_is_graded_by_the_next(
    graded_on: Cluster, existing: ExistingCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Job begins it again; what the lost Pod had made goes too."""
    core = CoreV1Api(graded_on.client)
    expected = hand_in(tmp_path / "submissions", {"ann": {MEND: "solution", EXPOSE: "solution"}})
    roll = collect(
        tmp_path / "submissions", [find_exercise(MEND), find_exercise(EXPOSE)], one=False
    )
    lost: list[str] = []
    keep = Shelf.keep

    def and_lose_the_pod(shelf: Shelf, each: HandedIn, grade: Grade) -> None:
        keep(shelf, each, grade)
        if not lost:
            for pod in core.list_pod_for_all_namespaces(label_selector="job-name").items:
                lost.append(pod.metadata.name)
                core.delete_namespaced_pod(
                    pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0
                )

    monkeypatch.setattr(Shelf, "keep", and_lose_the_pod)

    book = grade_roll_as_job(
        roll,
        existing,
        Order(shards=1, parallel=1, workers=1),
        results=tmp_path / "grades",
        resume=False,
        image=grader_image(),
    )

    assert len(lost) == 1
    assert {
        key: list(differences(expected[key], each)) for key, each in book.by_student.items()
    } == {key: [] for key in expected}
    assert left_behind(graded_on) == []


def test_an_interrupted_run_leaves_nothing(
    graded_on: Cluster, existing: ExistingCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while Pods grade: the Job, its rights and the namespaces of submissions go."""
    core = CoreV1Api(graded_on.client)
    hand_in(tmp_path / "submissions", {"ann": {MEND: "solution", EXPOSE: "solution"}})
    roll = collect(
        tmp_path / "submissions", [find_exercise(MEND), find_exercise(EXPOSE)], one=False
    )
    graded: list[str] = []

    def interrupted(shelf: Shelf, each: HandedIn, grade: Grade) -> None:
        graded.extend(
            ns.metadata.name
            for ns in core.list_namespace().items
            if ns.metadata.name.startswith("grade-") and ns.metadata.deletion_timestamp is None
        )
        raise KeyboardInterrupt

    monkeypatch.setattr(Shelf, "keep", interrupted)

    with pytest.raises(KeyboardInterrupt):
        grade(existing, roll, tmp_path, shards=1)

    assert graded
    assert left_behind(graded_on) == []
    eventually(
        lambda: {
            ns.metadata.name: [each.message for each in ns.status.conditions or ()]
            for ns in core.list_namespace().items
            if ns.metadata.name.startswith("grade-job-")
        },
        lambda held: not held,
        deadline=deadlines.current().object_deleted,
        expecting="the Job's namespace to be gone",
        every=1.0,
    )


def test_the_graders_account_is_kept_within_our_namespaces(
    graded_on: Cluster, existing: ExistingCluster
) -> None:
    """What its rights would let it change elsewhere, the admission policy does not."""
    with stand(existing, ()) as here:
        assert attempt(here, here.name) == ""
        for strangers in ("default", "kube-system", "kube-public"):
            assert DENIED in attempt(here, strangers)

    assert left_behind(graded_on) == []


#: Makes a place for a Job, and is killed in it.
KILLED = """
import os, sys
from pathlib import Path
from servicelab.cluster.existing import ExistingCluster
from servicelab.grading.job.stand import attempt, stand, sweep_killed
with stand(ExistingCluster(sys.argv[1], Path(sys.argv[2])), ()) as here:
    print(here.name, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_run_left_goes_with_the_next(
    graded_on: Cluster, existing: ExistingCluster
) -> None:
    """Its namespace is deleted, and takes along what was the cluster's."""
    argv = [sys.executable, "-c", KILLED, existing.context, str(graded_on.kubeconfig_path)]
    name = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    assert left_behind(graded_on) == [name] * 5

    assert sweep_killed(existing) == [name]

    eventually(
        lambda: left_behind(graded_on),
        lambda left: not left,
        deadline=deadlines.current().object_deleted,
        expecting="all that belonged to the namespace to be gone",
        every=1.0,
    )
