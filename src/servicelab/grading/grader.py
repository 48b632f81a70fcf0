"""Grading submissions on a cluster."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Self

from servicelab.errors import InfrastructureError, NotAsked
from servicelab.grading.exercise import Criterion, Exercise
from servicelab.grading.found import Found
from servicelab.grading.offline import look_offline
from servicelab.grading.results import CriterionResult, Grade, Outcome, State
from servicelab.grading.sheet import Sheet
from servicelab.verdict import NotProved

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.grading.control import Control
    from servicelab.grading.intake import Submission
    from servicelab.grading.scene import Scene
    from servicelab.metallb import MetalLB


def grade_submission(cluster: Cluster, sheet: Sheet, path: Path) -> Grade:
    """Grade one submission; for several, one `Grader` is quicker.

    Args:
        cluster: a cluster that is ready.
        sheet: what was to be done, and by whom.
        path: a manifest, or a folder of them.

    Raises:
        UsageError: there is no such path, or the exercise can't be used.
    """
    with Grader(cluster) as grader:
        return grader.grade_sheet(sheet, path)


class Grader:
    """Grades submissions on a cluster; several at a time, from several threads.

    Args:
        cluster: a cluster that is ready.
        seed: the course's.
    """

    def __init__(self, cluster: Cluster, *, seed: str = "") -> None:
        self.cluster = cluster
        self.seed = seed
        self._lock = Lock()
        self._metallb_lock = Lock()  # nobody else waits while it is installed
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take away what stood beside the submissions."""
        self._closing.close()

    @property
    def control(self) -> Control:
        """The course's own Pods."""
        with self._lock:
            return self._control

    @cached_property
    def _control(self) -> Control:
        from servicelab.grading.control import Control

        control = Control(self.cluster)
        self._closing.callback(control.close)
        return control

    @property
    def metallb(self) -> MetalLB:
        """MetalLB, for the exercises that need it; installed when first asked for."""
        with self._metallb_lock:
            return self._metallb

    @cached_property
    def _metallb(self) -> MetalLB:
        from servicelab.metallb import metallb_in

        return self._closing.enter_context(metallb_in(self.cluster))

    def grade(self, exercise: Exercise, path: Path, *, student: str = "") -> Grade:
        """Grade one submission.

        Args:
            exercise: what was to be done.
            path: a manifest, or a folder of them.
            student: whose it is; decides on the names and numbers.

        Raises:
            UsageError: there is no such path, or the exercise can't be used.
        """
        return self.grade_sheet(Sheet(exercise, student, self.seed), path)

    def grade_sheet(self, sheet: Sheet, path: Path) -> Grade:
        """As `grade`, for a student's exercise whose names and numbers are known."""
        from servicelab.grading.intake import Refused

        began = time.monotonic()
        looked = look_offline(sheet, path)
        grade = looked.grade
        if looked.submission is None:
            return grade
        try:
            criteria = self._on_the_cluster(sheet, looked.submission)
        except Refused as refused:
            grade = dataclasses.replace(grade, outcome=Outcome.REFUSED, reason=str(refused))
        except _failures() as error:
            grade = dataclasses.replace(grade, outcome=Outcome.NOT_GRADED, reason=_sentence(error))
        else:
            grade = dataclasses.replace(grade, outcome=Outcome.GRADED, criteria=criteria)
        return dataclasses.replace(
            grade,
            seconds=time.monotonic() - began,
            kubernetes=_version(self.cluster),
            graded_at=time.time(),
        )

    def _on_the_cluster(self, sheet: Sheet, submission: Submission) -> tuple[CriterionResult, ...]:
        from servicelab.grading.staging import staged

        if why := not_asked(sheet.exercise, self.cluster):
            raise NotAsked(why)
        control = self.control  # its Pods start while the submission's do
        with self._turn(sheet.turn), staged(self, control, sheet, submission) as scene:
            results = tuple(judge(sheet.criteria, scene))
            if any(each.state is State.FAILED for each in results):
                # No point is lost where the cluster did not do its work meanwhile.
                for proof in scene.time.proofs:
                    proof.result()
            return results

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        if not name:
            yield
            return
        from servicelab.cluster.lease import part_lock
        from servicelab.report.safe_text import file_name

        with part_lock(self.cluster.name, f"turn-{file_name(name)}"):
            yield


def not_asked(exercise: Exercise, cluster: Cluster) -> str:
    """Why an exercise can't be graded on a cluster, whatever is handed in; "" if it can.

    All of its submissions are treated alike: none is graded that happens not to get that far.
    """
    if cluster.ours or not exercise.needs_ours:
        return ""
    return (
        f"{exercise.name} is not asked of {cluster.name}, which servicelab did not make: it needs "
        f"{exercise.needs_ours}; grade it on one that servicelab makes"
    )


def judge(
    criteria: tuple[Criterion, ...],
    scene: Scene,
    *,
    check: Callable[[str], Callable[..., Found]] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[CriterionResult]:
    """Look at each criterion in turn; at none whose needs are not met.

    Args:
        criteria: each after those that it needs.
        scene: what is looked at.
        check: gives the function behind a word; by default the vocabulary's.
        clock: seconds since some fixed moment.
    """
    from servicelab.grading import vocabulary
    from servicelab.grading.scene import NoSuchObject

    function = check or vocabulary.check
    met: set[str] = set()
    for each in criteria:
        unmet = [need for need in each.needs if need not in met]
        began = clock()
        if unmet:
            found = Found(False, "", "", f"{' and '.join(unmet)} must be met first")
        else:
            scene.time.most = each.seconds
            try:
                found = function(each.check)(scene, **each.arguments)
            except NoSuchObject as error:
                found = Found(False, each.says, f"there is no {error}", f"there is no {error}")
        if found.met:
            met.add(each.id)
        failed = State.HELD_BACK if unmet else State.FAILED
        yield CriterionResult(
            id=each.id,
            says=each.says,
            points=each.points,
            state=State.PASSED if found.met else failed,
            expected=found.expected,
            actual=found.actual,
            why=found.why,
            waited_for=found.waited_for,
            needs=each.needs,
            hints=len(each.hints),
            seconds=clock() - began,
        )


def _failures() -> tuple[type[Exception], ...]:
    """What says nothing about a submission: the engine, the cluster, the API, a wait of ours."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    return (InfrastructureError, NotAsked, ApiException, HTTPError, NotProved, OSError)


def _sentence(error: Exception) -> str:
    from kubernetes.client.exceptions import ApiException

    if isinstance(error, ApiException):
        from servicelab.metallb.webhook import message_of

        return f"the API server answered {error.status}: {message_of(error)}"
    return " ".join(str(error).split()) or type(error).__name__


def _version(cluster: Cluster) -> str:
    try:
        return cluster.kubernetes_version
    except _failures():
        return ""
