"""Readiness: are the Pods that the selector matches ready to take traffic, and if not, why?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from servicelab.explain.layer import Layer, Word, broken, holds, not_asked, not_needed
from servicelab.explain.objects import (
    Json,
    condition,
    events_about,
    is_over,
    is_ready,
    name_of,
    node_of,
)
from servicelab.explain.selection import template_matched
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.wording import counted, listed, quoted, verb

#: What a container waits for while all is well.
_STARTING = ("ContainerCreating", "PodInitializing")


def readiness_layer(s: Snapshot) -> Layer:
    """Is a Pod ready that the selector matches?"""
    word = Word.READINESS
    if s.is_external_name:
        return not_needed(word, "a Service of type ExternalName has no Pods")
    if not s.selector:
        return not_needed(word, "without a selector, no Pods belong to the Service")
    if not s.selected:
        return _no_pods(s)
    unready = [pod for pod in s.selected if not is_ready(pod)]
    seen = f"{len(s.selected) - len(unready)} of {counted(len(s.selected), 'Pod')} Ready"
    if not unready:
        return holds(word, seen)
    worst = max(unready, key=lambda pod: len(why_not_ready(pod, s.events, s.nodes)))
    why = f"{name_of(worst)}: {why_not_ready(worst, s.events, s.nodes)}"
    if len(unready) < len(s.selected):
        return holds(word, f"{seen}; {why}")
    if s.publishes_not_ready:
        return holds(word, f"{seen}, but the Service publishes Pods that are not; {why}")
    return broken(
        word,
        seen,
        f"{verb(unready, 'the one Pod is', 'none of the Pods is')} Ready, so that the Service "
        f"has nobody to send traffic to; {why}",
        _look_at(s, worst),
    )


def _no_pods(s: Snapshot) -> Layer:
    workload = template_matched(s)
    if s.past and not workload:
        pod = s.past[0]
        phase = (pod.get("status") or {}).get("phase", "")
        became = f"has run to its end ({phase})" if is_over(pod) else "is being deleted"
        return broken(
            Word.READINESS,
            "no Pods",
            f"there is no Pod that could be ready: {name_of(pod)} {became}, and no other matches",
            f"kubectl -n {s.namespace} get pods",
        )
    if not workload:
        return not_asked(Word.READINESS, "the selector matches no Pod")
    kind, name = workload.split()
    wanted = next(
        ((each.get("spec") or {}).get("replicas") for each in s.workloads if name_of(each) == name),
        None,
    )
    failures = [
        quoted(event.get("message", ""))
        for each in s.workloads
        if name_of(each) == name or name_of(each).startswith(f"{name}-")
        for event in events_about(s.events, each.get("kind", ""), name_of(each))
        if event.get("type") == "Warning"
    ]
    if wanted == 0:
        why = f"{workload} has 0 replicas"
    elif failures:
        why = f"{workload} can't make its Pods: {failures[-1]}"
    else:
        why = f"{workload} has not made its Pods yet"
    return broken(
        Word.READINESS,
        "no Pods",
        f"there is no Pod that could be ready: {why}",
        f"kubectl -n {s.namespace} describe {kind.lower()} {name}",
    )


def why_not_ready(pod: Json, events: Iterable[Json], nodes: Iterable[Json]) -> str:
    """Why a Pod is not Ready, as closely as its status and its events say."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"it has no node yet: {quoted(scheduled.get('message', ''))}"
    for node in nodes:
        if name_of(node) == node_of(pod) and condition(node, "Ready").get("status") != "True":
            return f"its node {node_of(pod)} is not Ready"
    if stuck := next(filter(None, map(_stuck, _statuses(pod))), ""):
        return stuck
    warnings = [
        each for each in events_about(events, "Pod", name_of(pod)) if each.get("type") == "Warning"
    ]
    probes = [each for each in warnings if each.get("reason") == "Unhealthy"]
    if probes:
        return quoted(probes[-1].get("message", ""))
    for gate in (pod.get("spec") or {}).get("readinessGates") or ():
        kind = gate.get("conditionType", "")
        if condition(pod, kind).get("status") != "True":
            return f"its readiness gate {kind} is not passed"
    if warnings:
        last = warnings[-1]
        return f"{last.get('reason', 'a warning')}: {quoted(last.get('message', ''))}"
    waiting = [each for each in _statuses(pod) if not (each.get("state") or {}).get("running")]
    if waiting or not _statuses(pod):
        return "it is still being started"
    if probed := [each for each in pod["spec"]["containers"] if each.get("readinessProbe")]:
        return f"the readiness probe of {listed(each['name'] for each in probed)} has not passed"
    return quoted(condition(pod, "Ready").get("message", "")) or "its status does not say why"


def _statuses(pod: Json) -> list[Any]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _stuck(status: Json) -> str:
    """What keeps one container from running; "" if nothing out of the ordinary does."""
    state = status.get("state") or {}
    waiting, ended = state.get("waiting"), state.get("terminated")
    last = (status.get("lastState") or {}).get("terminated") or {}
    if waiting and waiting.get("reason") not in _STARTING:
        message = waiting.get("message", "")
        if waiting.get("reason") == "CrashLoopBackOff" and last:
            message = f"it ended with code {last.get('exitCode')} ({last.get('reason', '')})"
        return f"container {status['name']}: {waiting.get('reason')}, {quoted(message)}"
    if ended and ended.get("exitCode"):
        return f"container {status['name']} ended with code {ended['exitCode']}"
    return ""


def _look_at(s: Snapshot, pod: Json) -> str:
    if any(map(_crashes_again, _statuses(pod))):
        return f"kubectl -n {s.namespace} logs {name_of(pod)} --previous --all-containers"
    return f"kubectl -n {s.namespace} describe pod {name_of(pod)}"


def _crashes_again(status: Json) -> bool:
    """Has a container ended more than once? The kubelet says so, or leaves the last end's state."""
    state = status.get("state") or {}
    if (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff":
        return True
    return bool((state.get("terminated") or {}).get("exitCode") and status.get("restartCount"))
