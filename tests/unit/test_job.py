"""A class is graded by a Job: handed out whole, each grade brought back, nothing left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any

import pytest

from servicelab.errors import InfrastructureError, UsageError
from servicelab.grading.catalogue import all_exercises, find_exercise
from servicelab.grading.classroom.running import Pending
from servicelab.grading.classroom.submissions import HandedIn, shard_of
from servicelab.grading.grader import Grader
from servicelab.grading.intake import abandoned
from servicelab.grading.intake.fence import role
from servicelab.grading.intake.policy import KINDS, Policy
from servicelab.grading.job import Order, grade_as_job
from servicelab.grading.job import parcels as parcels_module
from servicelab.grading.job.manifest import job, seconds_at_most, shard_for
from servicelab.grading.job.parcels import (
    Parcel,
    TooLarge,
    parcel_of,
    parcel_of_exercise,
    read_parcels,
    unpack_exercise,
    unpack_submission,
)
from servicelab.grading.job.rights import rules
from servicelab.grading.job.shelf import grade_map
from servicelab.grading.results import Grade, Outcome
from servicelab.grading.sheet import Sheet
from servicelab.lab.namespace import OWNER

from .job_cluster import FakeApi, FakeCluster, api, pod

__all__ = ["api"]

EXERCISE = "mend-the-selector"
OUTSIDE = "a-chosen-node-port"
HOSTILE = "x; rm -rf / $(id) `id` \"'"


def graded(each: Pending, outcome: Outcome = Outcome.GRADED, seconds: float = 1.0) -> Grade:
    """A grade as a Pod writes it."""
    return dataclasses.replace(each.looked, outcome=outcome, reason="", seconds=seconds)


def pending(folder: Path, student: str, exercise: str = EXERCISE, turn: str = "") -> Pending:
    """A submission that waits for a cluster: the exercise's own solution."""
    task = find_exercise(exercise)
    Sheet(task, student).write(task.folder / "solution", folder / str(abs(hash(student))))
    looked = Grade(task.name, task.title, student, Outcome.NOT_GRADED, submission="d" * 64)
    handed_in = HandedIn(student, task, folder / str(abs(hash(student))))
    return Pending(handed_in, looked, frozenset({f"turn {turn}"} if turn else ()))


def order(**changes: Any) -> Order:
    """Three parts, two at a time."""
    return dataclasses.replace(Order(3, 2, 1), **changes)


def run(api: FakeApi, *each: Pending, **changes: Any) -> dict[str, Grade]:
    """Grade as a Job, and give the grades by student; nobody has two."""
    given = list(grade_as_job(FakeCluster(api), each, order(**changes), image="grader:1"))  # type: ignore[arg-type]
    assert len({one.handed_in.key for one, _ in given}) == len(given)
    return {one.handed_in.student: grade for one, grade in given}


def nothing_left(api: FakeApi) -> bool:
    """All that is the cluster's is gone."""
    kinds = (
        *("namespace", "cluster_role", "cluster_role_binding"),
        *("validating_admission_policy", "validating_admission_policy_binding"),
    )
    return not any(api.kept(kind) for kind in kinds)


# Following it.


def test_each_grade_is_brought_back(api: FakeApi, tmp_path: Path) -> None:
    """Everybody's, as a Pod wrote it; then nothing is left in the cluster."""
    ann, ben = pending(tmp_path, "ann"), pending(tmp_path, "ben")
    api.pods = [pod(0)]

    def pods_do() -> None:
        api.grade_map(grade_map(graded(ann)))
        api.grade_map(grade_map(graded(ben, seconds=2.0)))
        api.ended()

    api.on_job = pods_do
    grades = run(api, ann, ben)

    assert {who: grade.outcome for who, grade in grades.items()} == {
        "ann": Outcome.GRADED,
        "ben": Outcome.GRADED,
    }
    assert grades["ben"].seconds == 2.0
    assert nothing_left(api)


def test_a_grade_comes_while_the_job_still_runs(api: FakeApi, tmp_path: Path) -> None:
    """Nobody waits for the others to hear of it."""
    ann = pending(tmp_path, "ann")
    api.pods = [pod(0)]
    api.on_job = lambda: api.grade_map(grade_map(graded(ann)))

    coming = grade_as_job(FakeCluster(api), [ann], order(), image="grader:1")  # type: ignore[arg-type]
    first, _ = next(coming)

    assert first is ann
    assert api.job.status.conditions is None
    coming.close()
    assert nothing_left(api)


def test_what_could_not_be_graded_may_be_tried_again(api: FakeApi, tmp_path: Path) -> None:
    """A Pod's "could not grade" is not told while another Pod may still give a grade."""
    ann, ben = pending(tmp_path, "ann"), pending(tmp_path, "ben")
    api.pods = [pod(0)]
    seen = threading.Event()

    def pods_do() -> None:
        api.grade_map(grade_map(graded(ann, Outcome.NOT_GRADED)))
        api.grade_map(grade_map(graded(ben, Outcome.NOT_GRADED)))

        def later() -> None:
            seen.wait(0.05)
            api.grade_map(grade_map(graded(ann)))
            api.ended()

        threading.Thread(target=later, daemon=True).start()

    api.on_job = pods_do
    grades = run(api, ann, ben)

    assert grades["ann"].outcome is Outcome.GRADED
    assert grades["ben"].outcome is Outcome.NOT_GRADED


def test_a_lost_part_costs_no_points(api: FakeApi, tmp_path: Path) -> None:
    """Its students "could not be graded", with what their Pod died of; the others have grades."""
    students = [pending(tmp_path, f"s{number}") for number in range(6)]
    lost = [each for each in students if shard_for(each, 3) == 2]
    assert 0 < len(lost) < len(students)
    api.pods = [pod(0), pod(1, "Failed", exit_code=137, reason="OOMKilled", message="a\nlast\n")]

    def pods_do() -> None:
        for each in students:
            if each not in lost:
                api.grade_map(grade_map(graded(each)))
        api.ended("Failed", "FailedIndexes", "Job has failed indexes")

    api.on_job = pods_do
    grades = run(api, *students)

    for each in students:
        grade = grades[each.handed_in.student]
        if each in lost:
            assert grade.score is None
            assert "part 2 was lost: OOMKilled, exit code 137: last" in grade.reason
            assert "Job has failed indexes" in grade.reason
        else:
            assert grade.outcome is Outcome.GRADED


def test_the_courses_own_mistake_is_told_as_one(api: FakeApi, tmp_path: Path) -> None:
    """A Pod that ends with exit code 2 ends all with its sentence, not with "could not grade"."""
    api.pods = [pod(0, "Failed", exit_code=2, message="servicelab: the policy is wrong\n")]
    api.on_job = lambda: api.ended("Failed", "PodFailurePolicy", "x")

    with pytest.raises(UsageError, match="in the Job: the policy is wrong"):
        run(api, pending(tmp_path, "ann"))
    assert nothing_left(api)


def test_an_image_that_is_not_there_is_told_at_once(api: FakeApi, tmp_path: Path) -> None:
    """With the image's name, and how the nodes get it."""
    api.pods = [pod(0, "Pending", waiting="ImagePullBackOff")]

    with pytest.raises(InfrastructureError, match="ImagePullBackOff, image grader:1") as error:
        run(api, pending(tmp_path, "ann"))

    assert "servicelab images push REGISTRY --grader" in error.value.remedy
    assert nothing_left(api)


def test_a_job_that_somebody_deletes_is_no_grade(api: FakeApi, tmp_path: Path) -> None:
    """It is the cluster's failure, which costs nobody points."""
    api.pods = [pod(0)]

    def somebody() -> None:
        api.job = None

    api.on_job = somebody
    with pytest.raises(InfrastructureError, match="somebody has deleted the Job"):
        run(api, pending(tmp_path, "ann"))
    assert nothing_left(api)


# Making it, and taking it away.


def test_rights_go_before_what_was_made_with_them(api: FakeApi, tmp_path: Path) -> None:
    """A Pod that still runs can make nothing more while its leavings are swept."""
    api.pods = [pod(0)]
    api.on_job = lambda: api.ended()

    run(api, pending(tmp_path, "ann"))

    deleted = [call.rpartition(" ")[0] for call in api.calls if call.startswith("delete")]
    assert deleted[:2] == ["delete cluster_role_binding", "delete namespace"]


def test_an_interrupted_run_leaves_nothing(api: FakeApi, tmp_path: Path) -> None:
    """Ctrl-C amid everything: all that was made goes, the probes too."""
    api.pods = [pod(0)]
    cluster = FakeCluster(api)

    def interrupt() -> None:
        raise KeyboardInterrupt

    api.on_job = interrupt
    with pytest.raises(KeyboardInterrupt):
        list(grade_as_job(cluster, [pending(tmp_path, "ann")], order(), image="i"))  # type: ignore[arg-type]

    assert nothing_left(api)
    assert "free Pod held" in api.calls  # else its namespace would stay for ever
    assert cluster.released == 1


@pytest.mark.parametrize(
    "kind", ["namespace", "cluster_role", "validating_admission_policy_binding", "config_map"]
)
def test_what_is_refused_is_told_and_the_rest_goes(api: FakeApi, tmp_path: Path, kind: str) -> None:
    """One sentence; what was made before goes, and nothing else is deleted."""
    api.refuses = {kind}

    with pytest.raises(InfrastructureError, match="could not be"):
        run(api, pending(tmp_path, "ann"))

    made = {call.removeprefix("create ") for call in api.calls if call.startswith("create")}
    gone = {call.removeprefix("delete ") for call in api.calls if call.startswith("delete")}
    assert nothing_left(api)
    names = {each.rpartition(" ")[2] for each in made}
    assert {each.rpartition(" ")[2] for each in gone} <= names


def test_the_cluster_s_own_objects_belong_to_the_namespace(api: FakeApi, tmp_path: Path) -> None:
    """Whoever deletes the namespace of a killed run deletes all of it."""
    api.pods = [pod(0)]
    seen: dict[str, Any] = {}

    def pods_do() -> None:
        for kind in ("cluster_role", "cluster_role_binding", "validating_admission_policy"):
            [(_, made)] = api.made[kind].items()
            seen[kind] = made.body["metadata"]["ownerReferences"]
        api.ended()

    api.on_job = pods_do
    run(api, pending(tmp_path, "ann"))

    assert {each["kind"] for owners in seen.values() for each in owners} == {"Namespace"}
    assert {each["uid"] for owners in seen.values() for each in owners} == {"uid"}
    assert len(seen) == 3


def test_only_what_its_own_pods_have_left_is_swept(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither another Job's namespaces, nor a run's of this machine, nor anybody else's."""
    swept: list[str] = []
    monkeypatch.setattr(abandoned, "remove", lambda cluster, name, policy: swept.append(name))
    dead = {"pid": 999_999_999, "started": 1.0, "boot_id": "x"}
    owners = {
        "mine": json.dumps({"host": "grade-job-1-0", **dead}),
        "another-job-s": json.dumps({"host": "grade-job-2-0", **dead}),
        "of-this-machine": json.dumps({"host": os.uname().nodename, **dead}),
        "longer": json.dumps({"host": "grade-job-1-0-0", **dead}),
        "garbled": "{",
    }
    api.namespaces = [
        Object(
            metadata=Object(name=name, annotations={OWNER: said}, deletion_timestamp=None),
        )
        for name, said in owners.items()
    ]

    found = abandoned.sweep_abandoned(FakeCluster(api), job="grade-job-1")  # type: ignore[arg-type]

    assert found == swept == ["mine"]


# What is not brought there.


def test_a_grader_asks_no_stranger_s_cluster_for_what_needs_ours(
    api: FakeApi, tmp_path: Path
) -> None:
    """A wrong answer is treated as a right one: neither has a score, and nothing is made."""
    exercise = find_exercise(OUTSIDE)
    for name in ("solution", "starter"):
        Sheet(exercise, name).write(exercise.folder / name, tmp_path / name)
        with Grader(FakeCluster(api)) as grader:  # type: ignore[arg-type]
            grade = grader.grade(exercise, tmp_path / name, student=name)

        assert grade.score is None
        assert "is not asked of far" in grade.reason
    assert api.calls == []


def test_what_needs_our_nodes_is_not_asked(api: FakeApi, tmp_path: Path) -> None:
    """Whatever was handed in: no grade, the reason, and no Job at all."""
    grades = run(api, pending(tmp_path, "ann", OUTSIDE))

    assert grades["ann"].score is None
    assert "a-chosen-node-port is not asked of far" in grades["ann"].reason
    assert "a host outside" in grades["ann"].reason
    assert api.calls == []


def test_the_exercises_that_need_ours_are_known() -> None:
    """Those with MetalLB, or with a question from outside; the others go anywhere."""
    needing = {each.name for each in all_exercises() if each.needs_ours}

    assert needing == {
        *("a-chosen-node-port", "an-address-for-outside", "an-address-nobody-answers-for"),
        *("out-of-range", "whose-address"),
    }


def test_a_submission_that_is_too_large_is_one_submissions_matter(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs no points and stops nobody; the sentence says whose, and how large."""
    ann, ben = pending(tmp_path, "ann"), pending(tmp_path, "ben")
    [large] = ann.handed_in.path.iterdir()
    large.write_text("# " + "x" * 200_000)
    monkeypatch.setattr(parcels_module, "MOST_BYTES", 100 << 10)
    api.pods = [pod(0)]

    def pods_do() -> None:
        api.grade_map(grade_map(graded(ben)))
        api.ended()

    api.on_job = pods_do
    grades = run(api, ann, ben)

    assert grades["ann"].score is None
    assert "the submission of ann for mend-the-selector has 195 KiB" in grades["ann"].reason
    assert grades["ben"].outcome is Outcome.GRADED


def test_a_submission_that_changes_meanwhile_is_one_submissions_matter(
    api: FakeApi, tmp_path: Path
) -> None:
    """A link in place of a file is not followed, and stops nobody."""
    ann = pending(tmp_path, "ann")
    [file] = ann.handed_in.path.iterdir()
    file.unlink()
    file.symlink_to("/etc/passwd")

    grades = run(api, ann)

    assert grades["ann"].score is None
    assert "was changed while the class was graded" in grades["ann"].reason


# Parcels.


def test_a_submission_arrives_as_it_was_handed_in(tmp_path: Path) -> None:
    """To the byte, whatever the student is called; an exercise has the same version there."""
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    (folder / "a.yaml").write_bytes("# ä\r\nkind: Pod\n".encode())
    (folder / "deeper" / "b.json").write_text("{}")
    exercise = find_exercise(EXERCISE)
    handed_in = HandedIn(HOSTILE, exercise, folder)

    sent = [parcel_of_exercise(exercise), parcel_of(handed_in)]
    maps = [each.config_map(f"m-{number}", shard=2) for number, each in enumerate(sent)]

    class Map:
        def __init__(self, said: dict[str, Any]) -> None:
            self.data = json.loads(json.dumps(said["data"]))

    task, parcel = read_parcels(map(Map, maps))
    there = unpack_exercise(task, tmp_path / "out")
    arrived = unpack_submission(parcel, there, tmp_path / "out", 0)

    assert there.version == exercise.version
    assert arrived.student == HOSTILE
    assert parcel_of(arrived).files == parcel_of(handed_in).files
    assert (arrived.path / "a.yaml").read_bytes() == (folder / "a.yaml").read_bytes()
    assert HOSTILE not in str(arrived.path)
    assert maps[1]["metadata"]["labels"]["servicelab/shard"] == "2"


@pytest.mark.parametrize("name", ["../../outside.yaml", "/etc/outside.yaml", "a/../../b.yaml"])
def test_no_name_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    """Even one that the intake would have let through."""
    parcel = Parcel(EXERCISE, "ann", ((name, "text"),))

    with pytest.raises(UsageError, match="would not lie in its folder"):
        unpack_submission(parcel, find_exercise(EXERCISE), tmp_path, 0)

    assert not list(tmp_path.rglob("*.yaml"))


def test_a_config_map_holds_a_mebibyte() -> None:
    """As much as the API server takes, and not a byte more."""
    fits = Parcel(EXERCISE, "ann", (("a.yaml", ""),))
    room = (1 << 20) - len(fits.config_map("m")["data"]["parcel"])

    full = Parcel(EXERCISE, "ann", (("a.yaml", "x" * room),))
    assert len(full.config_map("m")["data"]["parcel"]) == 1 << 20
    with pytest.raises(TooLarge, match="of ann for mend-the-selector has 1024 KiB"):
        Parcel(EXERCISE, "ann", (("a.yaml", "x" * (room + 1)),)).config_map("m")


# The Job itself.


def test_nothing_of_a_submission_reaches_the_job(api: FakeApi, tmp_path: Path) -> None:
    """Its command is the same for every class; names and texts travel as data."""
    api.pods = [pod(0)]
    manifests: list[str] = []

    def pods_do() -> None:
        [(_, made)] = api.made["job"].items()
        manifests.append(json.dumps(made.body))
        api.ended()

    api.on_job = pods_do
    run(api, pending(tmp_path, HOSTILE))

    manifest = json.loads(manifests[0])
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["grade-shard"]
    assert not {"command", "env", "envFrom"} & container.keys()
    assert "rm -rf" not in manifests[0]
    assert EXERCISE not in manifests[0]


def test_the_job_is_indexed_and_bounded() -> None:
    """A Pod for each part, so many at a time, each part begun again, all of it ended in time."""
    spec = job("grade-job-1", "grader:1", order(), seconds=600)["spec"]

    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 2)
    assert spec["backoffLimitPerIndex"] == 2
    assert spec["activeDeadlineSeconds"] == 600
    assert spec["podReplacementPolicy"] == "Failed"
    [usage, disruption] = spec["podFailurePolicy"]["rules"]
    assert (usage["action"], usage["onExitCodes"]["values"]) == ("FailJob", [2])
    assert disruption["action"] == "Ignore"


def test_a_job_has_time_for_every_part(tmp_path: Path) -> None:
    """Less only with more workers or more Pods at a time."""
    students = [pending(tmp_path, f"s{number}") for number in range(8)]
    one = seconds_at_most(students, order(shards=1, parallel=1))

    assert one >= sum(each.limit for each in students)
    assert seconds_at_most(students, order(shards=1, parallel=1, workers=4)) < one
    at_once = seconds_at_most(students, order(shards=3, parallel=3))
    assert at_once < seconds_at_most(students, order(shards=3, parallel=1))


def test_those_who_must_take_turns_are_in_one_part(tmp_path: Path) -> None:
    """Pods don't wait for one another; everybody else is in the part that `shards` says."""
    shards = {
        shard_for(pending(tmp_path, f"s{number}", turn="node-port-1"), 16) for number in range(9)
    }

    assert len(shards) == 1
    assert shard_for(pending(tmp_path, "ann"), 16) == shard_of("ann", 16)


# Rights.


def test_the_grader_may_give_what_a_submissions_account_gets() -> None:
    """Else the API server refuses to make that account's role."""
    policy = Policy(kinds=KINDS)
    mine = {
        (group, resource, verb)
        for rule in rules(policy.kinds)
        if "resourceNames" not in rule
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    given = {
        (group, resource, verb)
        for rule in role(policy)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    assert given <= mine


def test_the_grader_may_do_no_more_than_it_needs() -> None:
    """No wildcard, no Secrets, nothing on roles but making them, and it is one account at most."""
    usual = rules(())
    told = json.dumps(usual)

    assert "*" not in told
    assert '"secrets"' not in told
    assert '"bind"' not in told
    assert '"escalate"' not in told
    assert '"secrets"' in json.dumps(rules({("v1", "Secret")}))
    [impersonates] = [rule for rule in usual if "impersonate" in rule["verbs"]]
    assert impersonates["resourceNames"] == ["submission"]


# The command.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "one cluster must be named to grade on; give --context"),
        (["--context", "a", "--cluster-name", "b"], "one cluster must be named"),
        (["--context", "nowhere"], "can't be used for the context nowhere"),
        (["--cluster-name", "nowhere"], "servicelab has made no cluster 'nowhere'"),
        (["--cluster-name", "b", "--registry", "r"], "for a cluster that servicelab did not make"),
        (["--context", "a", "--shards", "0"], "--shards"),
        (["--context", "a", "--exercise", "nothing"], "there is no exercise 'nothing'"),
    ],
)
def test_what_can_t_be_used_is_told_at_once(tmp_path: Path, options: list[str], says: str) -> None:
    """One sentence with the remedy, and exit code 2."""
    (tmp_path / "submissions" / "ann").mkdir(parents=True)
    (tmp_path / "submissions" / "ann" / f"{EXERCISE}.yaml").write_text("kind: Service\n")

    done = subprocess.run(
        [sys.executable, "-m", "servicelab", "grade-job", "submissions", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": "/nonexistent", "HOME": str(tmp_path), "SERVICELAB_CACHE": str(tmp_path)},
    )

    assert done.returncode == 2, done.stderr
    assert says in done.stderr
