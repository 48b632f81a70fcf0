"""A submission on the stage: its namespaces, the course's objects, its own, and their Pods."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError
from servicelab.grading.scene import Scene, Time
from servicelab.grading.settling import missing, settle
from servicelab.grading.sheet import Sheet
from servicelab.lab.lab import Lab
from servicelab.verdict import deadlines

if TYPE_CHECKING:
    from servicelab.grading.grader import Grader
    from servicelab.grading.intake import Submission
    from servicelab.metallb import Pool

_METALLB = "metallb.io/"
_WORKLOADS = ("Deployment", "StatefulSet", "Pod")
#: Addresses of an exercise's pool.
_ADDRESSES = 2


@contextmanager
def staged(grader: Grader, sheet: Sheet, submission: Submission) -> Iterator[Scene]:
    """Put a submission into namespaces of its own, and take them away afterwards.

    Raises:
        Refused: the API server does not take it.
        InfrastructureError: what is the course's does not stand.
    """
    from servicelab.grading.intake import applied

    exercise = sheet.exercise
    spaces = ExitStack()
    with spaces:
        others = {
            name: _second(spaces, grader, sheet, str(sheet.values[name]))
            for name in sheet.namespaces
        }
        _lead_there(submission, {str(sheet.values[name]): lab for name, lab in others.items()})
        with applied(grader.cluster, submission, submission.namespace):
            lab = Lab(
                grader.cluster, exercise.folder, exercise.name, namespace=submission.namespace
            )
            spaces.callback(lab.close)
            pool = _give(grader, sheet, lab, others)
            unready = settle([lab, *others.values()])
            _check_given(sheet, lab, others)
            limit = exercise.seconds or deadlines.current().graded_in_all.seconds
            control = grader.control
            times = Time(time.monotonic() + limit, partial(control.proving, pods=bool(unready)))
            times.begin()
            yield Scene(lab, others, control, times, pool)


def _second(spaces: ExitStack, grader: Grader, sheet: Sheet, title: str) -> Lab:
    lab = Lab(grader.cluster, sheet.exercise.folder, title)
    spaces.callback(lab.close)
    return lab


def _give(grader: Grader, sheet: Sheet, lab: Lab, others: Mapping[str, Lab]) -> Pool | None:
    """Apply the course's own objects; returns the pool that they hold, if any."""
    pool = None
    for name, each in {"": lab, **others}.items():
        documents = sheet.documents("given", name)
        ours = [each for each in documents if str(each["apiVersion"]).startswith(_METALLB)]
        if ours:
            pool = grader.metallb.pools.apply(lab, ours, addresses=_ADDRESSES)
        each.apply_documents([document for document in documents if document not in ours])
    return pool


def _lead_there(submission: Submission, spaces: Mapping[str, Lab]) -> None:
    """Let names that the exercise gives to other namespaces lead to those of this submission."""
    for document in submission.of_kind("Service"):
        name = document.manifest["spec"].get("externalName")
        if isinstance(name, str):
            labels = [
                spaces[label].namespace if label in spaces else label for label in name.split(".")
            ]
            document.manifest["spec"]["externalName"] = ".".join(labels)


def _check_given(sheet: Sheet, lab: Lab, others: Mapping[str, Lab]) -> None:
    """The course's own Pods must be Ready: without them nothing can be said of a submission."""
    for name, each in {"": lab, **others}.items():
        workloads = [
            (document["kind"], document["metadata"]["name"])
            for document in sheet.documents("given", name)
            if document["kind"] in _WORKLOADS
        ]
        if short := missing(each, workloads):
            raise InfrastructureError(
                f"the Pods of {', '.join(short)}, which are the course's own, are not Ready",
                remedy="grade again; `servicelab doctor` may say more",
            )
