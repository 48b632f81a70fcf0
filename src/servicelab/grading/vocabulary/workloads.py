"""Words about Pods: whether they are Ready, and whether readiness means anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servicelab.grading.found import Found
from servicelab.grading.vocabulary.backends import ready_pods_behind
from servicelab.grading.vocabulary.wording import counted, listed, whose
from servicelab.lab.pods import LabPod
from servicelab.verdict import deadlines

if TYPE_CHECKING:
    from servicelab.grading.scene import Scene, Sight


def pods_ready(scene: Scene, *, of: str, count: int) -> Found:
    """Exactly so many Pods of a workload are there, and all are Ready and stay so.

    Args:
        scene: where to look.
        of: the workload, "deployment/web".
        count: how many.
    """
    expected = f"{counted(count, 'Ready Pod')} of {whose(of).removeprefix('the Pods of ')}"

    def all_ready(pods: list[LabPod]) -> bool:
        return len(pods) == count == sum(pod.ready for pod in pods)

    expecting = f"{whose(of)} to be {count}, all Ready"
    sight = scene.until(lambda: scene.pods(of), all_ready, expecting=expecting, tell=_states)
    became = sight.satisfied
    if became:
        # Without a readiness probe a container that is about to end is Ready, too.
        expecting = f"{whose(of)} to stay {count}, all Ready"
        sight = scene.stays(lambda: scene.pods(of), all_ready, expecting=expecting, tell=_states)
    ready = sum(pod.ready for pod in sight.seen)
    actual = f"{ready} of {counted(len(sight.seen), 'Pod')} Ready: {_states(sight.seen)}"
    if sight.satisfied:
        return Found(True, expected, actual)
    if len(sight.seen) != count:
        why = f"there are {counted(len(sight.seen), 'Pod')}, not {count}"
    elif became:
        why = f"{counted(count - ready, 'Pod')} did not stay Ready"
    else:
        why = f"{counted(count - ready, 'Pod')} never became Ready"
    return Found(False, expected, actual, why, sight.waited_for)


def leaves_when_unready(scene: Scene, *, service: str, of: str, switch: int) -> Found:
    """A Pod that says it can't serve leaves the Service, and comes back when it can again.

    For Pods with a container that has agnhost's grpc-health-checking: its HTTP port is the switch.

    Args:
        scene: where to look.
        service: the Service.
        of: its Pods.
        switch: the port at which /make-not-serving and /make-serving are asked.
    """
    found = scene.service(service)
    pods = scene.pods(of)
    expected = "a Pod that can't serve gets no more requests, and gets them again later"
    if not pods or len(ready_pods_behind(found)) < len(pods):
        return Found(
            False, expected, "not all Pods are Ready", "there is no Ready Pod to try it on"
        )
    patient = pods[0]
    scene.client.get(f"http://{patient.ip}:{switch}/make-not-serving")
    scene.time.begin(pods=False)
    try:
        left = scene.until(
            lambda: ready_pods_behind(found),
            lambda behind: patient.name not in behind,
            expecting=f"Pod {patient.name}, which can't serve, to leave {found}",
            tell=listed,
        )
    finally:
        scene.client.get(f"http://{patient.ip}:{switch}/make-serving")
        scene.time.begin(pods=False)
    if not left.satisfied:
        return Found(
            False,
            expected,
            f"Pod {patient.name} said that it can't serve, and is still behind the Service",
            "nothing notices whether the Pod can serve",
            left.waited_for,
        )
    back = scene.until(
        lambda: ready_pods_behind(found),
        lambda behind: patient.name in behind,
        expecting=f"Pod {patient.name}, which can serve again, to come back to {found}",
        tell=listed,
    )
    if not back.satisfied:
        return Found(
            False,
            expected,
            f"Pod {patient.name} left the Service and did not come back",
            "a Pod that can serve again stays out",
            back.waited_for,
        )
    return Found(True, expected, f"Pod {patient.name} left the Service and came back")


def joins_when_ready(scene: Scene, *, service: str, of: str) -> Found:
    """A Pod that is deleted is replaced, and its successor joins the Service without an edit.

    Args:
        scene: where to look.
        service: the Service.
        of: its Pods.
    """
    found = scene.service(service)
    before = scene.pods(of)
    expected = "a new Pod takes the place of one that was deleted, behind the Service too"
    if not before:
        return Found(False, expected, "there is no Pod", "there is no Pod to delete")
    replaced = replace_one(scene, of, before)
    if not replaced.satisfied:
        why = "the Pod has no Ready successor"
        return Found(False, expected, f"Pods: {_states(replaced.seen)}", why, replaced.waited_for)

    def look() -> tuple[list[LabPod], set[str]]:
        return scene.pods(of), ready_pods_behind(found)

    sight = scene.until(
        look,
        lambda seen: {pod.name for pod in seen[0]} == seen[1],
        expecting=f"{found} to follow when Pod {before[0].name} is replaced",
        tell=lambda seen: f"Pods {_states(seen[0])}; behind the Service {listed(seen[1])}",
    )
    actual = f"behind the Service: {listed(sight.seen[1])}"
    why = "" if sight.satisfied else "the Service does not follow its Pods"
    return Found(sight.satisfied, expected, actual, why, sight.waited_for)


def replace_one(scene: Scene, of: str, before: list[LabPod]) -> Sight[list[LabPod]]:
    """Delete the first of a workload's Pods, and wait until all are Ready again.

    What follows from that has its time from then on.
    """
    lab, _ = scene.where(of)
    lab.delete_pod(before[0], grace_seconds=0)
    scene.time.begin(pods=True)
    most = scene.time.most
    # A Pod's start may be slow on one node, and is not what is asked here.
    scene.time.most = max(most or 0.0, deadlines.current().graded_pods.seconds)
    # By address: the Pods of a StatefulSet keep their names.
    sight = scene.until(
        lambda: scene.pods(of),
        lambda pods: (
            len(pods) == len(before)
            and before[0].ip not in {pod.ip for pod in pods}
            and all(pod.ready for pod in pods)
        ),
        expecting=f"Pod {before[0].name} to have a Ready successor",
        tell=_states,
    )
    scene.time.most = most
    scene.time.begin(pods=False)
    return sight


def _states(pods: list[LabPod]) -> str:
    return ", ".join(f"{pod.name}{'' if pod.ready else ' (not Ready)'}" for pod in pods) or "none"
