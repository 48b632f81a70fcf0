"""The Indexed Job: a Pod for each part of the class, at the `restricted` Pod Security standard."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from servicelab.grading.classroom.running import Pending
from servicelab.grading.classroom.submissions import shard_of
from servicelab.grading.job.rights import ACCOUNT
from servicelab.vantage.pods import NOBODY
from servicelab.verdict import deadlines

POD_SECURITY = {
    f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")
} | {"pod-security.kubernetes.io/enforce-version": "latest"}
COMMAND = "grade-shard"
"""What the Pods' servicelab is told; all else stands in ConfigMaps."""
RETRIES = 2
"""How often the part of a Pod that failed is begun again."""
_BETWEEN = 60
"""Seconds from the end of a failed Pod to the start of the next: 10 s, 20 s, and its start."""
_KEPT = 3600
"""Seconds that an ended Job is kept if nobody takes it away: whoever waited for it was killed."""
_USAGE = 2


@dataclass(frozen=True, slots=True)
class Order:
    """How a class is graded in a cluster.

    Attributes:
        shards: the parts that it is divided into, a Pod each.
        parallel: Pods at the same time.
        workers: submissions that a Pod grades at the same time.
        seed: the course's.
        deadline_factor: every wait in the Pods gets so much more time.
    """

    shards: int
    parallel: int
    workers: int
    seed: str = ""
    deadline_factor: float = 1.0


def shard_for(pending: Pending, shards: int) -> int:
    """The part that a submission is in, from 1: as of its student, unless it must take turns.

    Pods do not wait for one another, so those that can't be graded at the same time share one.
    """
    turns = sorted(each for each in pending.takes if each.startswith("turn "))
    return shard_of(turns[0] if turns else pending.handed_in.student, shards)


def seconds_at_most(pending: Iterable[Pending], order: Order) -> int:
    """Seconds after which the Job is ended, whatever its Pods hang at."""
    work: Counter[int] = Counter()
    longest = 0.0
    for each in pending:
        work[shard_for(each, order.shards)] += math.ceil(each.limit / order.workers)
        longest = max(longest, each.limit)
    rounds = math.ceil(order.shards / order.parallel)
    one = max(work.values(), default=0) + longest + _BETWEEN
    return math.ceil(rounds * (RETRIES + 1) * one + deadlines.current().graders_start.seconds)


def job(name: str, image: str, order: Order, *, seconds: int) -> dict[str, Any]:
    """The Job.

    Args:
        name: the Job's, which its Pods' host names begin with.
        image: of servicelab.
        order: how many parts, and how many at the same time.
        seconds: after which it is ended.
    """
    container = {
        "name": "grader",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [COMMAND],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "1Gi", "ephemeral-storage": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # What a lost part is told to have died of.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": ACCOUNT,
        "enableServiceLinks": False,
        # It takes away what it has made when it is told to end.
        "terminationGracePeriodSeconds": 20,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completionMode": "Indexed",
            "completions": order.shards,
            "parallelism": order.parallel,
            "backoffLimitPerIndex": RETRIES,
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": _KEPT,
            # Two Pods of one part at a time would grade the same submissions.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    # The course's own mistake, which every Pod would make.
                    {
                        "action": "FailJob",
                        "onExitCodes": {"operator": "In", "values": [_USAGE]},
                    },
                    # A drained or lost node is no fault of the part's.
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                ]
            },
            "template": {"spec": pod},
        },
    }
