"""What can be said about a submission without a cluster: within a second."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servicelab.grading.results import Grade, Outcome
from servicelab.grading.sheet import Sheet

if TYPE_CHECKING:
    from servicelab.grading.intake import Submission


@dataclass(frozen=True, slots=True)
class Looked:
    """A submission that was looked at without a cluster.

    Attributes:
        grade: what is known by now; final if the submission was refused.
        submission: to be applied; None if it was refused.
    """

    grade: Grade
    submission: Submission | None


def look_offline(sheet: Sheet, path: Path) -> Looked:
    """Read a submission, hold it against the exercise's policy, and look for obvious mistakes.

    Raises:
        UsageError: there is no such path.
    """
    from servicelab.grading.intake import Refused, take_in
    from servicelab.lab.namespace import namespace_name

    began = time.monotonic()
    exercise = sheet.exercise
    grade = Grade(
        exercise=exercise.name,
        title=exercise.title,
        student=sheet.student,
        outcome=Outcome.NOT_GRADED,
        possible=exercise.possible,
        version=exercise.version,
        reason="no cluster was asked yet",
    )
    namespace = namespace_name(f"grade-{exercise.name}-{sheet.student or 'nobody'}")
    try:
        submission = take_in(path, sheet.policy, namespace=namespace)
        _check_whose(submission, sheet)
    except Refused as refused:
        refusal = dataclasses.replace(
            grade,
            outcome=Outcome.REFUSED,
            reason=str(refused),
            seconds=time.monotonic() - began,
            graded_at=time.time(),
        )
        return Looked(refusal, None)
    told = dataclasses.replace(
        grade,
        submission=submission.digest,
        remarks=tuple(remarks(submission.manifests, sheet.documents("given"))),
        reason="",
    )
    return Looked(told, submission)


def _check_whose(submission: Submission, sheet: Sheet) -> None:
    """The course's own objects are not to be changed.

    Raises:
        Refused: one of them is in the submission.
    """
    from servicelab.grading.intake import Finding, Refused

    ours = {(each["kind"], each["metadata"]["name"]) for each in sheet.documents("given")}
    found = [
        Finding(
            f"{document.kind} {document.name} belongs to the exercise, and is not to be changed",
            file=document.file,
            line=document.line,
            remedy="leave it out: it stands in the namespace already",
        )
        for document in submission.documents
        if (document.kind, document.name) in ours
    ]
    if found:
        raise Refused(found)


def remarks(submitted: list[dict[str, Any]], given: list[dict[str, Any]]) -> list[str]:
    """Mistakes that can be seen in the manifests; they cost nothing by themselves."""
    pods = [each for each in map(_template, [*submitted, *given]) if each is not None]
    found = []
    for service in (each for each in submitted if each.get("kind") == "Service"):
        name = service["metadata"]["name"]
        selector = (service.get("spec") or {}).get("selector")
        if not selector or not pods:
            continue
        chosen = [
            pod
            for pod in pods
            if selector.items() <= ((pod.get("metadata") or {}).get("labels") or {}).items()
        ]
        if not chosen:
            found.append(
                f"the selector of Service {name} matches none of the Pods of this exercise"
            )
            continue
        ports = [port for pod in chosen for port in _ports(pod)]
        for port in service["spec"].get("ports") or ():
            target = port.get("targetPort")
            if isinstance(target, str) and target not in {each.get("name") for each in ports}:
                found.append(
                    f"no container behind Service {name} has a port named {target!r}, which its "
                    "targetPort asks for"
                )
    return found


def _template(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a workload's Pods are made from."""
    if document.get("kind") == "Pod":
        return document
    template = (document.get("spec") or {}).get("template")
    return template if isinstance(template, Mapping) else None


def _ports(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    spec = pod.get("spec") or {}
    return [
        port for container in spec.get("containers") or () for port in container.get("ports") or ()
    ]
