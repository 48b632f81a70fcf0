"""What a Pod of the Job does: its part of the class, graded as `grade-all` grades."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError, UsageError
from servicelab.grading.classroom.commands import teller
from servicelab.grading.classroom.running import grade_class
from servicelab.grading.classroom.submissions import Roll
from servicelab.grading.intake.fence import REQUEST_SECONDS
from servicelab.grading.job.grading import SETTINGS
from servicelab.grading.job.parcels import (
    HOLDS,
    SHARD,
    read_parcels,
    unpack_exercise,
    unpack_submission,
)
from servicelab.grading.job.shelf import ClusterShelf
from servicelab.grading.job.stand import told_as_infrastructure
from servicelab.grading.results import Outcome
from servicelab.verdict.deadlines import multiplied

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

    from servicelab.cluster.in_cluster import InCluster
    from servicelab.grading.grader import Grader

_INDEX = "JOB_COMPLETION_INDEX"


@dataclass(frozen=True, slots=True)
class Settings:
    """How to grade, as whoever made the Job says.

    Attributes:
        cluster: what its users call the cluster.
        registry: where its nodes pull servicelab's images from.
        seed: the course's.
        workers: submissions at the same time.
        deadline_factor: every wait gets so much more time.
    """

    cluster: str
    registry: str | None
    seed: str
    workers: int
    deadline_factor: float


def grade_shard() -> int:
    """Grade the part of the class that this Pod's completion index says.

    Returns:
        The exit code: 0 all have their grade, 3 some could not be graded.

    Raises:
        UsageError: this is no Pod of such a Job.
        InfrastructureError: the API server does not say what to do.
    """
    from kubernetes.client import CoreV1Api

    from servicelab.cluster.in_cluster import InCluster, client_of_pod, own_namespace

    shard = _shard(os.environ.get(_INDEX, ""))
    core, namespace = CoreV1Api(client_of_pod()), own_namespace()
    with tempfile.TemporaryDirectory(prefix="servicelab-shard-") as folder:
        settings, roll = _received(core, namespace, shard, Path(folder))
        cluster = InCluster(settings.cluster, registry=settings.registry)
        with multiplied(settings.deadline_factor):
            grades = grade_class(
                roll.handed_in,
                ClusterShelf(core, namespace, settings.seed),
                lambda: _grader(cluster, settings.seed),
                workers=settings.workers,
                # A Pod before this one may have got so far.
                resume=True,
                told=teller(len(roll.handed_in)),
            )
    return 3 if any(each.outcome is Outcome.NOT_GRADED for each in grades) else 0


def _shard(index: str) -> int:
    """The part, from 1, by a completion index, from 0."""
    if not index.isdecimal():
        raise UsageError(
            f"{_INDEX} is {index!r}, which is no Pod's of an Indexed Job",
            remedy="`servicelab grade-job` makes such a Job",
        )
    return int(index) + 1


def _received(core: CoreV1Api, namespace: str, shard: int, folder: Path) -> tuple[Settings, Roll]:
    def maps(selector: str) -> list[Any]:
        listed = core.list_namespaced_config_map(
            namespace, label_selector=selector, _request_timeout=REQUEST_SECONDS
        )
        return list(listed.items)

    with told_as_infrastructure("the API server does not say what to grade"):
        said = maps(f"{HOLDS}={SETTINGS}")
        exercises = read_parcels(maps(f"{HOLDS}=exercise"))
        submissions = read_parcels(maps(f"{HOLDS}=submission,{SHARD}={shard}"))
    try:
        settings = Settings(**json.loads(said[0].data[SETTINGS]))
    except (LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"the ConfigMap {namespace}/{SETTINGS} is not of this servicelab: {error!r}",
            remedy="let the Job's image be of the version that made the Job",
        ) from None
    known = {each.exercise: unpack_exercise(each, folder) for each in exercises}
    handed_in = sorted(
        (
            unpack_submission(each, known[each.exercise], folder, number)
            for number, each in enumerate(submissions)
        ),
        key=lambda each: each.key,
    )
    students = tuple(dict.fromkeys(each.student for each in handed_in))
    return settings, Roll(tuple(handed_in), students, tuple(known.values()), ())


@contextmanager
def _grader(cluster: InCluster, seed: str) -> Iterator[Grader]:
    from servicelab.grading.grader import Grader
    from servicelab.grading.intake.abandoned import sweep_abandoned

    cluster.create()
    try:
        sweep_abandoned(cluster)  # of a Pod before this one, whose host name this one has
        with Grader(cluster, seed=seed) as grader:
            yield grader
    finally:
        with suppress(InfrastructureError):
            sweep_abandoned(cluster, mine=True)
        cluster.release()
