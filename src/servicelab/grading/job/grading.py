"""Grading submissions as a Job: handed out, followed, brought back, taken away."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError, UsageError
from servicelab.grading.classroom.running import Pending, not_graded
from servicelab.grading.grader import not_asked
from servicelab.grading.intake.fence import REQUEST_SECONDS
from servicelab.grading.job.following import Ended, follow, wait_until_started
from servicelab.grading.job.manifest import Order, job, seconds_at_most, shard_for
from servicelab.grading.job.parcels import HOLDS, TooLarge, parcel_of, parcel_of_exercise
from servicelab.grading.job.stand import Stand, stand, sweep_killed, told_as_infrastructure
from servicelab.grading.results import Grade, Outcome
from servicelab.grading.sheet import Sheet

if TYPE_CHECKING:
    from servicelab.cluster.existing import ExistingCluster

SETTINGS = "settings"
"""The ConfigMap that tells the Pods how to grade."""
_BOUNDED = {"_request_timeout": REQUEST_SECONDS}


def grade_as_job(
    cluster: ExistingCluster,
    pending: Sequence[Pending],
    order: Order,
    *,
    image: str,
) -> Generator[tuple[Pending, Grade], None, None]:
    """Grade submissions in a cluster, and give each grade as it comes.

    What can't be graded there is told first: exercises that need a cluster of servicelab's own, and
    submissions that are too large to be brought there.

    Args:
        cluster: where; the probes are put onto its nodes, and taken away again.
        pending: the submissions.
        order: how many Pods, and how they grade.
        image: the grader's, as servicelab calls it.

    Raises:
        UsageError: an exercise can't be used there.
        InfrastructureError: the cluster does not do it.
    """
    going: list[Pending] = []
    maps: list[dict[str, Any]] = []
    for each in pending:
        why = not_asked(each.handed_in.exercise, cluster)
        shard = shard_for(each, order.shards)
        try:
            parcel = None if why else _parcel(each, len(maps), shard)
        except (TooLarge, InfrastructureError) as error:
            parcel, why = None, str(error)
        if parcel:
            going.append(each)
            maps.append(parcel)
        else:
            yield each, not_graded(each.looked, why)
    if not going:
        return
    exercises = {each.handed_in.exercise.name: each.handed_in.exercise for each in going}
    for number, exercise in enumerate(exercises.values()):
        maps.append(parcel_of_exercise(exercise).config_map(f"exercise-{number}"))
    order = replace(order, parallel=min(order.parallel, order.shards))
    seconds = seconds_at_most(going, order)
    kinds = {
        kind
        for each in going
        for kind in Sheet(each.handed_in.exercise, each.handed_in.student, order.seed).policy.kinds
    }
    with _probed(cluster), stand(cluster, kinds) as here:
        progress = cluster.progress
        with progress.step(f"bringing {len(going)} submissions into {cluster.name}/{here.name}"):
            _bring(here, [*maps, _settings(cluster, order)])
        [manifest] = cluster.localised([job(here.name, image, order, seconds=seconds)])
        with progress.step(f"starting {order.parallel} of {order.shards} Pods"):
            _begin(here, manifest)
            wait_until_started(here, manifest["spec"]["template"]["spec"]["containers"][0]["image"])
        yield from _bring_back(here, going, order, seconds)


def _bring_back(
    here: Stand, going: Sequence[Pending], order: Order, seconds: float
) -> Iterator[tuple[Pending, Grade]]:
    waiting = {each.handed_in.key: each for each in going}
    without: dict[tuple[str, str], Grade] = {}
    with closing(follow(here, seconds=seconds)) as news:
        for new in news:
            if isinstance(new, Ended):
                for key, each in waiting.items():
                    shard = shard_for(each, order.shards)
                    yield each, without.get(key) or not_graded(each.looked, new.reason(shard))
                return
            key = (new.student, new.exercise)
            if key not in waiting:
                continue
            if new.outcome is Outcome.NOT_GRADED:
                # The Job may try it again.
                without[key] = new
            else:
                yield waiting.pop(key), new


@contextmanager
def _probed(cluster: ExistingCluster) -> Iterator[None]:
    """Probes on the nodes, for as long as the Pods ask from there."""
    try:
        with told_as_infrastructure(f"probes could not be put onto the nodes of {cluster.name}"):
            cluster.create()
        for namespace in sweep_killed(cluster):
            cluster.progress.say(f"removed the namespace {namespace}, which a killed run left")
        yield
    finally:
        with told_as_infrastructure(f"the probes on {cluster.name} could not be taken away"):
            cluster.release()


def _parcel(each: Pending, number: int, shard: int) -> dict[str, Any]:
    """The ConfigMap with a submission.

    Raises:
        TooLarge: no ConfigMap can hold it.
        InfrastructureError: it is not what it was when it was looked at.
    """
    from servicelab.grading.intake import Refused

    try:
        parcel = parcel_of(each.handed_in)
    except (Refused, UsageError, UnicodeDecodeError) as error:
        raise InfrastructureError(
            f"it was changed while the class was graded: {error}", remedy="grade again"
        ) from None
    return parcel.config_map(f"submission-{number}", shard=shard)


def _settings(cluster: ExistingCluster, order: Order) -> dict[str, Any]:
    said = {
        "cluster": cluster.name,
        "registry": cluster.registry,
        "seed": order.seed,
        "workers": order.workers,
        "deadline_factor": order.deadline_factor,
    }
    return {
        "metadata": {"name": SETTINGS, "labels": {HOLDS: SETTINGS}},
        "data": {SETTINGS: json.dumps(said)},
    }


def _bring(here: Stand, maps: Sequence[dict[str, Any]]) -> None:
    from kubernetes.client import CoreV1Api

    core: Any = CoreV1Api(here.cluster.client)
    with told_as_infrastructure("the submissions could not be brought into the cluster"):
        for each in maps:
            core.create_namespaced_config_map(here.name, each, **_BOUNDED)


def _begin(here: Stand, manifest: dict[str, Any]) -> None:
    from kubernetes.client import BatchV1Api

    batch: Any = BatchV1Api(here.cluster.client)
    with told_as_infrastructure("the Job could not be made"):
        batch.create_namespaced_job(here.name, manifest, **_BOUNDED)
