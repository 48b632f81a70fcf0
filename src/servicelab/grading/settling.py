"""Waiting until the Pods of a submission are Ready, or have shown that they will not be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from servicelab.lab.lab import Lab
from servicelab.lab.pods import is_going, is_ready, pods_in_words
from servicelab.verdict import NotProved, deadlines, eventually

#: What a container waits for in vain: no further second changes it.
_STUCK = frozenset(
    {
        *("ErrImagePull", "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
        "CrashLoopBackOff",
    }
)


def settle(labs: Iterable[Lab]) -> str:
    """Wait until every Pod that the namespaces' workloads ask for is Ready.

    Returns:
        "" if they are; else what is missing after `graded_pods`, or once it can't come any more.
    """
    everywhere = list(labs)
    try:
        eventually(
            lambda: [_State(lab) for lab in everywhere],
            lambda states: all(state.is_complete for state in states),
            deadline=deadlines.current().graded_pods,
            expecting="every Pod to be Ready",
            give_up=lambda states: next(filter(None, (state.stuck for state in states)), None),
            tell=lambda states: "; ".join(map(str, states)),
            every=0.4,
        )
    except NotProved as error:
        return str(error)
    return ""


def missing(lab: Lab, workloads: Iterable[tuple[str, str]]) -> list[str]:
    """Which of the named workloads have not all their Pods Ready: "Deployment web"."""
    short = dict(_State(lab).short)
    return [f"{kind} {name}" for kind, name in workloads if (kind, name) in short]


def stuck(pods: Mapping[str, Any]) -> str | None:
    """Which of some Pods, by name, waits in vain, and for what; None if none does."""
    for name, pod in pods.items():
        for status in pod.status.container_statuses or ():
            waiting = status.state.waiting if status.state else None
            if waiting and waiting.reason in _STUCK:
                return f"Pod {name}: {waiting.reason}"
            # Between two tries the kubelet often leaves the state of the one that ended.
            ended = status.state.terminated if status.state else None
            if ended and ended.exit_code and status.restart_count:
                return f"Pod {name}: its container ended again, with code {ended.exit_code}"
    return None


class _State:
    """The workloads and Pods of a namespace now."""

    def __init__(self, lab: Lab) -> None:
        apps: Any = lab.apps
        core: Any = lab.core
        listed = core.list_namespaced_pod(lab.namespace).items
        self.pods = {pod.metadata.name: pod for pod in listed if not is_going(pod)}
        workloads = [
            *(
                ("Deployment", each)
                for each in apps.list_namespaced_deployment(lab.namespace).items
            ),
            *(
                ("StatefulSet", each)
                for each in apps.list_namespaced_stateful_set(lab.namespace).items
            ),
        ]
        self.short = {
            (kind, each.metadata.name): f"{each.status.ready_replicas or 0} of {each.spec.replicas}"
            for kind, each in workloads
            if not _is_complete(each)
        }
        self.short |= {
            ("Pod", name): str(pod.status.phase)
            for name, pod in self.pods.items()
            if not pod.metadata.owner_references and not is_ready(pod)
        }

    @property
    def is_complete(self) -> bool:
        return not self.short

    @property
    def stuck(self) -> str | None:
        return stuck(self.pods)

    def __str__(self) -> str:
        return pods_in_words(self.pods)


def _is_complete(workload: Any) -> bool:
    status = workload.status
    wanted = workload.spec.replicas
    seen = (status.observed_generation or 0) >= workload.metadata.generation
    updated = (status.updated_replicas or 0) == wanted
    return bool(seen and updated and (status.ready_replicas or 0) == wanted == status.replicas)
