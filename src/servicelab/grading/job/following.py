"""Following a Job from outside, by watching: its grades as they come, then its end."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError
from servicelab.grading.intake.fence import REQUEST_SECONDS
from servicelab.grading.job.shelf import GRADES, read_grade
from servicelab.grading.job.stand import Stand, told_as_infrastructure
from servicelab.grading.results import Grade
from servicelab.grading.settling import stuck
from servicelab.lab.pods import pods_in_words
from servicelab.report.safe_text import one_line
from servicelab.verdict import Deadline, NotProved, deadlines
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from kubernetes.client import BatchV1Api, CoreV1Api

_LONGEST = 300
_INDEX = "batch.kubernetes.io/job-completion-index"
#: What the kubelet has not even begun.
_BEGUN = frozenset({"Running", "Succeeded", "Failed"})
_USAGE = 2


@dataclass(frozen=True, slots=True)
class Ended:
    """A Job that has ended.

    Attributes:
        why: the Job's own reason, if it failed; "" if it is complete.
        lost: what became of the last Pod of a part that failed, by the part's number, from 1.
    """

    why: str
    lost: Mapping[int, str]

    def reason(self, shard: int) -> str:
        """Why a submission of a part has no grade."""
        pod = self.lost.get(shard, "its Pod is gone, and left no word")
        return f"the Pod of its part {shard} was lost: {pod}" + (
            f" ({self.why})" if self.why else ""
        )


def wait_until_started(here: Stand, image: str) -> None:
    """Wait until the first Pod runs.

    Raises:
        InfrastructureError: it does not, or its image can't be pulled.
    """
    from kubernetes.client import CoreV1Api

    def begun(pods: Mapping[str, Any]) -> bool:
        return bool(stuck(pods)) or any(pod.status.phase in _BEGUN for pod in pods.values())

    try:
        with told_as_infrastructure("the Job can't be followed"):
            pods = watch_until(
                CoreV1Api(here.cluster.client).list_namespaced_pod,
                begun,
                deadline=deadlines.current().graders_start,
                expecting="a Pod of the Job to run",
                tell=lambda pods: pods_in_words(pods) or "no Pod",
                namespace=here.name,
            )
    except NotProved as error:
        raise InfrastructureError(" ".join(str(error).split())) from None
    if why := stuck(pods):
        raise InfrastructureError(
            f"the Job's Pods do not start: {why}, image {image}",
            remedy="`servicelab images push REGISTRY --grader`, then --registry REGISTRY; for a "
            "cluster of servicelab's own, --cluster-name",
        )


def follow(here: Stand, *, seconds: float) -> Generator[Grade | Ended, None, None]:
    """Each grade as it is written, a changed one again, and in the end how the Job ended.

    Args:
        here: the Job's place.
        seconds: after which the Job is ended in any case.

    Raises:
        UsageError: a Pod found that something given can't be used.
        InfrastructureError: the API server does not say.
    """
    from kubernetes.client import BatchV1Api, CoreV1Api

    core: Any = CoreV1Api(here.cluster.client)
    batch = BatchV1Api(here.cluster.client)
    deadline = Deadline("graders_end", seconds + deadlines.current().graders_start.seconds)
    news: SimpleQueue[Any] = SimpleQueue()
    over = Event()
    versions: dict[str, str] = {}

    def fresh(found: Mapping[str, Any]) -> Iterator[Grade]:
        for name, each in found.items():
            if versions.get(name) != each.metadata.resource_version:
                versions[name] = each.metadata.resource_version
                if grade := read_grade(each):
                    yield grade

    def watch_grades() -> None:
        def seen(found: Mapping[str, Any]) -> bool:
            news.put(found)
            return over.is_set()

        _put_failure(news, over, lambda: _watch(core, here.name, deadline, seen))

    def watch_job() -> None:
        _put_failure(news, over, lambda: news.put(_watch_job(batch, here.name, deadline)))

    for watching in (watch_grades, watch_job):
        # Daemons: a watch notices only at its next event that nobody listens any more.
        Thread(target=watching, daemon=True).start()
    try:
        while True:
            new = news.get()
            if isinstance(new, Exception):
                raise new
            if isinstance(new, Mapping):
                yield from fresh(new)
                continue
            with told_as_infrastructure("what the Job's Pods gave can't be read"):
                listed = core.list_namespaced_config_map(
                    here.name, label_selector=GRADES, _request_timeout=REQUEST_SECONDS
                )
                ended = _ended(core, here, new)
            yield from fresh({each.metadata.name: each for each in listed.items})
            yield ended
            return
    finally:
        over.set()


def _watch(core: CoreV1Api, namespace: str, deadline: Deadline, seen: Any) -> None:
    watch_until(
        core.list_namespaced_config_map,
        seen,
        deadline=deadline,
        expecting="the Job to end",
        tell=lambda found: f"{len(found)} grades",
        namespace=namespace,
        label_selector=GRADES,
    )


def _watch_job(batch: BatchV1Api, name: str, deadline: Deadline) -> Any:
    found = watch_until(
        batch.list_namespaced_job,
        lambda jobs: name not in jobs or _end_of(jobs[name]) is not None,
        deadline=deadline,
        expecting="the Job to end",
        tell=lambda jobs: f"{len(jobs)} Jobs",
        namespace=name,
    )
    if name not in found:
        return InfrastructureError(f"somebody has deleted the Job {name}/{name}")
    return found[name]


def _put_failure(news: SimpleQueue[Any], over: Event, watch: Any) -> None:
    try:
        with told_as_infrastructure("the Job can't be followed"):
            watch()
    except Exception as error:  # noqa: BLE001  # whoever waits for news must hear of it
        if not over.is_set():
            news.put(error)


def _end_of(job: Any) -> Any:
    """The condition by which a Job has ended; None while it goes on."""
    ends = (each for each in job.status.conditions or () if each.status == "True")
    return next((each for each in ends if each.type in ("Complete", "Failed")), None)


def _ended(core: Any, here: Stand, job: Any) -> Ended:
    from servicelab.errors import UsageError

    end = _end_of(job)
    pods = core.list_namespaced_pod(here.name, _request_timeout=REQUEST_SECONDS).items
    last: dict[int, Any] = {}
    for pod in sorted(pods, key=lambda pod: pod.metadata.creation_timestamp):
        last[int((pod.metadata.annotations or {}).get(_INDEX, -1)) + 1] = pod
    for pod in last.values():
        # Every Pod would say the same: the course's own mistake.
        if (state := _terminated(pod)) and state.exit_code == _USAGE:
            raise UsageError(f"in the Job: {_last_line(state.message)}")
    why = f"{end.reason}: {end.message}" if end.type == "Failed" else ""
    return Ended(one_line(why, _LONGEST), {shard: _fate(pod) for shard, pod in last.items()})


def _terminated(pod: Any) -> Any:
    for status in pod.status.container_statuses or ():
        if status.state and status.state.terminated:
            return status.state.terminated
    return None


def _fate(pod: Any) -> str:
    state = _terminated(pod)
    if pod.status.reason:
        told = f"{pod.status.reason} {pod.status.message or ''}"
    elif state is None:
        told = f"it is {pod.status.phase}"
    else:
        told = f"{state.reason}, exit code {state.exit_code}: {_last_line(state.message)}"
    return one_line(told, _LONGEST)


def _last_line(message: str | None) -> str:
    lines = [line for line in (message or "").splitlines() if line.strip()]
    return (
        one_line(lines[-1].removeprefix("servicelab: "), _LONGEST) if lines else "it said nothing"
    )
