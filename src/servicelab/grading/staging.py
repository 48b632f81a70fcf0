"""A submission on the stage: its namespaces, the course's objects, its own, and their Pods."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError
from servicelab.grading.scene import Scene, Time
from servicelab.grading.settling import missing, settle
from servicelab.grading.sheet import Sheet
from servicelab.lab.lab import Lab
from servicelab.lab.manifests import Document
from servicelab.verdict import NotProved, deadlines, eventually

if TYPE_CHECKING:
    from servicelab.grading.control import Control
    from servicelab.grading.grader import Grader
    from servicelab.grading.intake import Submission
    from servicelab.metallb import Pool

_METALLB = "metallb.io/"
_POOL = "IPAddressPool"
#: The annotation by which a Service chooses a pool.
_CHOICE = "metallb.io/address-pool"
_WORKLOADS = ("Deployment", "StatefulSet", "Pod")
#: Addresses of an exercise's pool.
_ADDRESSES = 2


@contextmanager
def staged(
    grader: Grader, control: Control, sheet: Sheet, submission: Submission
) -> Iterator[Scene]:
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
        _choose_there(submission, sheet)
        with applied(grader.cluster, submission, submission.namespace):
            lab = Lab(
                grader.cluster, exercise.folder, exercise.name, namespace=submission.namespace
            )
            spaces.callback(lab.close)
            pools = _give(grader, sheet, lab, others)
            unready = settle([lab, *others.values()])
            _check_given(sheet, lab, others)
            limit = exercise.seconds or deadlines.current().graded_in_all.seconds
            times = Time(time.monotonic() + limit, control.proving)
            times.begin(pods=bool(unready))
            yield Scene(lab, others, control, times, pools)


def _second(spaces: ExitStack, grader: Grader, sheet: Sheet, title: str) -> Lab:
    lab = Lab(grader.cluster, sheet.exercise.folder, title)
    spaces.callback(lab.close)
    return lab


def _give(grader: Grader, sheet: Sheet, lab: Lab, others: Mapping[str, Lab]) -> tuple[Pool, ...]:
    """Apply the course's own objects; returns the pools among them."""
    pools: list[Pool] = []
    for name, each in {"": lab, **others}.items():
        documents = sheet.documents("given", name)
        ours = [each for each in documents if str(each["apiVersion"]).startswith(_METALLB)]
        each.apply_documents([document for document in documents if document not in ours])
        pools += [
            grader.metallb.pools.apply(lab, group, addresses=_ADDRESSES) for group in _groups(ours)
        ]
    return tuple(pools)


def _groups(documents: list[Document]) -> Iterator[list[Document]]:
    """Each pool with what advertises it."""
    for pool in documents:
        if pool["kind"] == _POOL:
            name = pool["metadata"]["name"]
            yield [
                pool,
                *(
                    each
                    for each in documents
                    if name in (each.get("spec") or {}).get("ipAddressPools", ())
                ),
            ]


def _choose_there(submission: Submission, sheet: Sheet) -> None:
    """Let the pools that the exercise names be those of this submission."""
    names = {
        document["metadata"]["name"]
        for document in sheet.documents("given")
        if document["kind"] == _POOL
    }
    for document in submission.of_kind("Service"):
        annotations = document.manifest["metadata"].get("annotations") or {}
        if annotations.get(_CHOICE) in names:
            annotations[_CHOICE] = f"{annotations[_CHOICE]}-{submission.namespace}"


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
    """Wait for the course's own Pods: without them nothing can be said of a submission."""
    spaces = {"": lab, **others}
    ours = {
        name: [
            (document["kind"], document["metadata"]["name"])
            for document in sheet.documents("given", name)
            if document["kind"] in _WORKLOADS
        ]
        for name in spaces
    }
    try:
        eventually(
            lambda: [short for name, each in spaces.items() for short in missing(each, ours[name])],
            lambda short: not short,
            deadline=deadlines.current().pod_ready,
            expecting="the exercise's own Pods to be Ready",
            every=0.5,
        )
    except NotProved as error:
        raise InfrastructureError(
            " ".join(str(error).split()), remedy="grade again; `servicelab doctor` may say more"
        ) from None
