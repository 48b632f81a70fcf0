"""Putting a submission on the stage: names of the task become those of its namespaces."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from servicelab.errors import InfrastructureError
from servicelab.grading import staging
from servicelab.grading.catalogue import find_exercise
from servicelab.grading.grader import Grader
from servicelab.grading.intake import Finding, RefusedByServer
from servicelab.grading.offline import look_offline
from servicelab.grading.results import Outcome
from servicelab.grading.scene import NoSuchObject, Scene
from servicelab.grading.settling import _is_complete, stuck
from servicelab.grading.sheet import Sheet


def submission(exercise: str, folder: str, tmp_path: Path) -> tuple[Sheet, Any]:
    """What Ann hands in."""
    sheet = Sheet(find_exercise(exercise), "ann")
    sheet.write(sheet.exercise.folder / folder, tmp_path)
    looked = look_offline(sheet, tmp_path)
    assert looked.submission is not None, looked.grade.reason
    return sheet, looked.submission


def test_a_name_leads_to_the_namespace_that_stands_for_the_task_s(tmp_path: Path) -> None:
    """Only the label that is the other namespace's name is changed."""
    sheet, handed_in = submission("a-name-in-another-namespace", "solution", tmp_path)
    real: Any = SimpleNamespace(namespace="maple-1-abc123")

    staging._lead_there(handed_in, {str(sheet.values["stock"]): real})

    (service,) = handed_in.manifests
    store = sheet.values["store"]
    assert service["spec"]["externalName"] == f"{store}.maple-1-abc123.svc.cluster.local"


@pytest.mark.parametrize(("folder", "ours"), [("solution", True), ("wrong/no-such-pool", False)])
def test_a_pool_is_the_submission_s_own(tmp_path: Path, folder: str, ours: bool) -> None:
    """A pool that the exercise has becomes this namespace's; any other name stays what it is."""
    sheet, handed_in = submission("an-address-nobody-answers-for", folder, tmp_path)

    staging._choose_there(handed_in, sheet)

    chosen = handed_in.manifests[0]["metadata"]["annotations"]["metallb.io/address-pool"]
    assert chosen.endswith(f"-{handed_in.namespace}") is ours


def test_each_pool_goes_with_what_advertises_it() -> None:
    """A pool that nothing advertises stands alone."""
    documents = Sheet(find_exercise("an-address-nobody-answers-for")).documents("given")
    ours = [each for each in documents if each["apiVersion"].startswith("metallb.io/")]

    groups = [[each["kind"] for each in group] for group in staging._groups(ours)]

    assert groups == [["IPAddressPool", "L2Advertisement"], ["IPAddressPool"]]


@pytest.mark.parametrize(
    ("status", "complete"),
    [
        ({"observed_generation": 2, "updated": 2, "ready": 2, "replicas": 2}, True),
        ({"observed_generation": 1, "updated": 2, "ready": 2, "replicas": 2}, False),
        ({"observed_generation": 2, "updated": 1, "ready": 2, "replicas": 2}, False),
        ({"observed_generation": 2, "updated": 2, "ready": 1, "replicas": 2}, False),
        ({"observed_generation": 2, "updated": 2, "ready": 2, "replicas": 3}, False),
        ({"observed_generation": None, "updated": None, "ready": None, "replicas": None}, False),
    ],
)
def test_a_workload_is_complete_when_its_controller_says_so(
    status: dict[str, int | None], complete: bool
) -> None:
    """All replicas of the newest generation are ready, and no others are left."""
    workload = SimpleNamespace(
        metadata=SimpleNamespace(generation=2),
        spec=SimpleNamespace(replicas=2),
        status=SimpleNamespace(
            observed_generation=status["observed_generation"],
            updated_replicas=status["updated"],
            ready_replicas=status["ready"],
            replicas=status["replicas"],
        ),
    )

    assert _is_complete(workload) is complete


def crashed(*, code: int, restarts: int) -> Any:
    """A Pod whose container has ended."""
    ended = SimpleNamespace(waiting=None, terminated=SimpleNamespace(exit_code=code))
    status = SimpleNamespace(state=ended, restart_count=restarts)
    return SimpleNamespace(status=SimpleNamespace(container_statuses=[status]))


@pytest.mark.parametrize(
    ("code", "restarts", "told"),
    [(1, 1, "Pod web: its container ended again, with code 1"), (1, 0, None), (0, 1, None)],
)
def test_a_container_that_ends_again_is_not_waited_for(
    code: int, restarts: int, told: str | None
) -> None:
    """Most of the time its status says Error, not CrashLoopBackOff."""
    assert stuck({"web": crashed(code=code, restarts=restarts)}) == told


def owned(name: str, uid: str | None, controller: bool = True) -> Any:
    """A Pod that says whose it is."""
    owner = SimpleNamespace(uid=uid, controller=controller)
    return SimpleNamespace(
        metadata=SimpleNamespace(
            name=name,
            labels={"app": "web"},
            deletion_timestamp=None,
            owner_references=[owner] if uid else None,
        ),
        status=SimpleNamespace(pod_ip="10.0.0.1", conditions=()),
        spec=SimpleNamespace(node_name="worker", containers=()),
    )


def test_pods_are_known_by_their_controller_not_by_name_or_label() -> None:
    """A Pod with the right name, label, and somebody else's or no controller is none of them."""
    pods = [
        owned("web-a", "rs"),
        owned("web-b", None),
        owned("web-c", "x"),
        owned("web-d", "rs", False),
    ]
    deployment = SimpleNamespace(metadata=SimpleNamespace(uid="dep"))
    replica_set = SimpleNamespace(
        metadata=SimpleNamespace(uid="rs", owner_references=[SimpleNamespace(uid="dep")])
    )
    other = SimpleNamespace(metadata=SimpleNamespace(uid="x", owner_references=None))
    lab: Any = SimpleNamespace(
        namespace="ns",
        core=SimpleNamespace(list_namespaced_pod=lambda ns: SimpleNamespace(items=pods)),
        apps=SimpleNamespace(
            read_namespaced_deployment=lambda name, ns: deployment,
            list_namespaced_replica_set=lambda ns: SimpleNamespace(items=[replica_set, other]),
        ),
    )
    nothing: Any = None

    assert [pod.name for pod in Scene(lab, {}, nothing, nothing).pods("deployment/web")] == [
        "web-a"
    ]


def fails(error: Exception) -> Callable[..., Any]:
    """A stage on which something fails."""

    @contextmanager
    def staged(*about: object) -> Any:
        raise error
        yield

    return staged


def api_error() -> Exception:
    """What the official client raises."""
    from kubernetes.client.exceptions import ApiException

    return ApiException(status=500, reason="Internal Server Error")


@pytest.mark.parametrize(
    ("error", "outcome", "score"),
    [
        (RefusedByServer([Finding("Invalid value: 33333")]), Outcome.REFUSED, 0),
        (InfrastructureError("the engine is gone"), Outcome.NOT_GRADED, None),
        (api_error(), Outcome.NOT_GRADED, None),
        (ConnectionResetError("reset"), Outcome.NOT_GRADED, None),
    ],
)
def test_what_goes_wrong_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: Exception,
    outcome: Outcome,
    score: int | None,
) -> None:
    """The API server's word on a manifest refuses it; all else says nothing about it."""
    sheet, _ = submission("mend-the-selector", "solution", tmp_path)
    cluster: Any = SimpleNamespace(name="none", kubernetes_version="v1.37.0", ours=True)
    grader = Grader(cluster)
    grader.__dict__["_control"] = None
    monkeypatch.setattr(staging, "staged", fails(error))

    grade = grader.grade(sheet.exercise, tmp_path, student="ann")

    assert (grade.outcome, grade.score) == (outcome, score)
    assert grade.reason


def test_a_mistake_of_the_grader_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A bug is no outcome: it is raised."""
    sheet, _ = submission("mend-the-selector", "solution", tmp_path)
    cluster: Any = SimpleNamespace(name="none", kubernetes_version="v1.37.0", ours=True)
    grader = Grader(cluster)
    grader.__dict__["_control"] = None
    monkeypatch.setattr(staging, "staged", fails(NoSuchObject("Service web")))

    with pytest.raises(NoSuchObject):
        grader.grade(sheet.exercise, tmp_path, student="ann")
