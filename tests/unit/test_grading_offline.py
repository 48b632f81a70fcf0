"""Without a cluster: a refusal, or remarks, within a second."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from servicelab.grading.catalogue import find_exercise
from servicelab.grading.offline import look_offline, remarks
from servicelab.grading.results import Outcome
from servicelab.grading.sheet import Sheet


@pytest.fixture
def sheet() -> Sheet:
    """Ann's exercise."""
    return Sheet(find_exercise("mend-the-selector"), "ann")


def service(**spec: object) -> dict:
    """A Service `web`."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}


POD = {
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "template": {
            "metadata": {"labels": {"app": "web", "tier": "front"}},
            "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 80}]}]},
        }
    },
}


@pytest.mark.parametrize(
    ("spec", "remark"),
    [
        ({"selector": {"app": "web"}}, ""),
        ({"selector": {"app": "webb"}}, "the selector of Service web matches none of the Pods"),
        ({"selector": {"app": "web", "tier": "back"}}, "matches none of the Pods"),
        ({"selector": {"app": "web"}, "ports": [{"port": 1, "targetPort": "http"}]}, ""),
        ({"selector": {"app": "web"}, "ports": [{"port": 1, "targetPort": 81}]}, ""),
        ({"selector": {"app": "web"}, "ports": [{"port": 1, "targetPort": "web"}]}, "named 'web'"),
        ({}, ""),
        ({"type": "ExternalName", "externalName": "x"}, ""),
    ],
)
def test_obvious_mistakes_are_remarked(spec: dict, remark: str) -> None:
    """What can be seen in the manifests is said; nothing is said of what can't."""
    found = remarks([service(**spec)], [POD])

    assert len(found) == (remark != "")
    assert remark in "".join(found)


def test_the_starter_is_taken_in_within_a_second(sheet: Sheet, tmp_path: Path) -> None:
    """It is to be graded, with a remark."""
    sheet.write(sheet.exercise.folder / "starter", tmp_path)
    look_offline(sheet, tmp_path)  # once, so that nothing is imported while it is timed

    began = time.monotonic()
    looked = look_offline(sheet, tmp_path)

    assert time.monotonic() - began < 5  # 0.3 s; this machine may be busy
    assert looked.submission is not None
    assert looked.grade.remarks
    assert looked.grade.submission


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("kind: [", "YAML"),
        ("", "no object"),
        (yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}), "Secr"),
    ],
)
def test_what_breaks_a_rule_is_refused(
    sheet: Sheet, tmp_path: Path, manifest: str, reason: str
) -> None:
    """Refused is an outcome of its own, with a reason and no points."""
    (tmp_path / "web.yaml").write_text(manifest)

    grade = look_offline(sheet, tmp_path).grade

    assert (grade.outcome, grade.score, grade.exit_code) == (Outcome.REFUSED, 0, 4)
    assert reason in grade.reason


def test_the_course_s_objects_are_not_to_be_handed_in(tmp_path: Path) -> None:
    """Whoever hands in a Deployment of the course's name would grade their own Pods."""
    exercise = find_exercise("mend-the-selector")
    policy = {**exercise.policy, "kinds": ["v1 Service", "apps/v1 Deployment"]}
    object.__setattr__(exercise, "policy", policy)
    sheet = Sheet(exercise, "ann")
    sheet.write(exercise.folder / "given", tmp_path)

    grade = look_offline(sheet, tmp_path).grade

    assert grade.outcome is Outcome.REFUSED
    assert "belongs to the exercise, and is not to be changed" in grade.reason
