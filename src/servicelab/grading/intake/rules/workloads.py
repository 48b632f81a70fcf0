"""Objects that make Pods."""

from __future__ import annotations

from collections.abc import Mapping

from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.rules import pods
from servicelab.grading.intake.rules.metadata import check_template_metadata
from servicelab.grading.intake.rules.place import Place

_COMMON = ("selector", "template", "minReadySeconds")
_HISTORY = "revisionHistoryLimit"
#: The fields of each kind's spec.
KINDS: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "ReplicationController": (*_COMMON, "replicas"),
    "ReplicaSet": (*_COMMON, "replicas"),
    "Deployment": (*_COMMON, _HISTORY, "replicas", "strategy", "paused", "progressDeadlineSeconds"),
    "StatefulSet": (
        *(*_COMMON, _HISTORY, "replicas", "serviceName", "podManagementPolicy", "updateStrategy"),
        *("ordinals", "persistentVolumeClaimRetentionPolicy"),
    ),
    "DaemonSet": (*_COMMON, _HISTORY, "updateStrategy"),
    "Job": (
        *("template", "parallelism", "completions", "completionMode", "activeDeadlineSeconds"),
        *("backoffLimit", "ttlSecondsAfterFinished", "podReplacementPolicy", "suspend"),
    ),
}
NODES = 3
"""Nodes of the cluster, each of which runs a DaemonSet's Pod."""
_MOST_BACKOFF = 6
_REFUSED = {
    "volumeClaimTemplates": "the cluster has no storage for exercises",
    "manualSelector": "a Job that chooses its own selector can take over other Pods",
    "managedBy": "another program would run the Job",
}


def check(kind: str, place: Place, policy: Policy) -> None:
    """Hold a Pod, or an object that makes Pods, against the policy."""
    spec = place.at("spec")
    if not spec.given:
        place.refuse(f"the {kind} has no spec")
        return
    if kind == "Pod":
        pods.check(spec, policy)
        return
    spec.only(KINDS[kind], _REFUSED, f"a {kind}")
    template = spec.at("template")
    if not template.given:
        spec.refuse(f"the {kind} has no template for its Pods")
        return
    template.only(("metadata", "spec"), {}, "a template")
    selector = spec.at("selector")
    (selector if kind == "ReplicationController" else selector.at("matchLabels")).texts("labels")
    check_template_metadata(template.at("metadata"), policy)
    pods.check(template.at("spec"), policy)
    spec.at("replicas").between(0, policy.max_pods, "the number of replicas")
    if kind == "Job":
        _check_job(spec, policy)


def _check_job(spec: Place, policy: Policy) -> None:
    for key in ("parallelism", "completions"):
        spec.at(key).between(0, policy.max_job_pods, f"a Job's {key}")
    spec.at("backoffLimit").between(0, _MOST_BACKOFF, "a Job's backoffLimit")
    until = spec.at("activeDeadlineSeconds")
    if until.value is None:
        spec.refuse(
            "the Job may go on for ever",
            f"write activeDeadlineSeconds: {policy.max_job_seconds} or less",
        )
    until.between(1, policy.max_job_seconds, "a Job's activeDeadlineSeconds")


def pods_of(place: Place) -> int:
    """How many Pods an object makes at most at a time, as far as its fields can be read."""
    kind = place.document.manifest["kind"]
    if kind not in KINDS:
        return 0
    if kind == "DaemonSet":
        return NODES
    field = {"Pod": "", "Job": "parallelism"}.get(kind, "replicas")
    number = place.at("spec", field).value if field else 1
    return number if isinstance(number, int) and number > 0 else int(number is None)
