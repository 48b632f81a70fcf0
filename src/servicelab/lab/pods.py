"""Pods as a lab sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LabPod:
    """One Pod.

    Attributes:
        name: its name, which the labs' web backend answers with.
        ip: its address; "" before it has one.
        node: where it runs; "" before it is scheduled.
        ready: its Ready condition.
        labels: its labels.
        ports: the TCP ports that its containers declare.
    """

    name: str
    ip: str
    node: str
    ready: bool
    labels: Mapping[str, str]
    ports: tuple[int, ...] = ()


def lab_pod(pod: Any) -> LabPod:
    """A Pod of the official client, as a lab sees it."""
    return LabPod(
        name=pod.metadata.name,
        ip=pod.status.pod_ip or "",
        node=pod.spec.node_name or "",
        ready=is_ready(pod),
        labels=pod.metadata.labels or {},
        ports=tuple(
            port.container_port
            for container in pod.spec.containers
            for port in container.ports or ()
            if (port.protocol or "TCP") == "TCP"
        ),
    )


def is_ready(pod: Any) -> bool:
    """Its Ready condition is true, and it is not being deleted."""
    conditions = pod.status.conditions or ()
    ready = any(each.type == "Ready" and each.status == "True" for each in conditions)
    return ready and not is_going(pod)


def is_going(pod: Any) -> bool:
    """It is being deleted."""
    return pod.metadata.deletion_timestamp is not None


def pods_in_words(pods: Mapping[str, Any]) -> str:
    """Each Pod with its phase, and why a container does not run."""
    if not pods:
        return "no Pod"
    return "; ".join(_in_words(pod) for _, pod in sorted(pods.items()))


def _in_words(pod: Any) -> str:
    words = [pod.metadata.name, pod.status.phase or "Unknown"]
    if pod.status.phase == "Running" and not is_ready(pod):
        words.append("not Ready")
    for status in pod.status.container_statuses or ():
        state = status.state
        if state and state.waiting and state.waiting.reason != "ContainerCreating":
            words.append(f"{status.name}: {state.waiting.reason} {status.image}")
    words += [
        str(condition.message)
        for condition in pod.status.conditions or ()
        if condition.type == "PodScheduled" and condition.status == "False"
    ]
    return " ".join(words)
