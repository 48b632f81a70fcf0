"""Grades kept as ConfigMaps: they outlive the Pod that gave them, and whoever waits sees them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError
from servicelab.grading.classroom.submissions import HandedIn
from servicelab.grading.intake.fence import REQUEST_SECONDS
from servicelab.grading.job.parcels import HOLDS
from servicelab.grading.results import Grade, Outcome

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

GRADES = f"{HOLDS}=grade"
"""Selects the ConfigMaps with grades."""
_KEY = "grade"
_EXISTS = 409
_GONE = 404


@dataclass(frozen=True, slots=True)
class ClusterShelf:
    """Where the Pods of a Job keep grades; a Pod that comes after a lost one goes on there.

    Attributes:
        core: the API.
        namespace: the Job's.
        seed: the course's; one Job has one.
    """

    core: CoreV1Api
    namespace: str
    seed: str

    def keep(self, handed_in: HandedIn, grade: Grade) -> None:
        """Write a grade, over the one before.

        Raises:
            InfrastructureError: the API server does not take it.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        core: Any = self.core
        body = grade_map(grade)
        name = body["metadata"]["name"]
        bounded = {"_request_timeout": REQUEST_SECONDS}
        try:
            try:
                core.create_namespaced_config_map(self.namespace, body, **bounded)
            except ApiException as error:
                if error.status != _EXISTS:
                    raise
                core.replace_namespaced_config_map(name, self.namespace, body, **bounded)
        except (ApiException, HTTPError) as error:
            raise InfrastructureError(
                f"the grade of {handed_in.student} can't be kept in the cluster: "
                f"{getattr(error, 'reason', None) or error}"
            ) from None

    def find(self, handed_in: HandedIn, digest: str) -> Grade | None:
        """The grade that a Pod before this one gave, if it says something about the submission."""
        from kubernetes.client import ApiException

        try:
            kept = self.core.read_namespaced_config_map(
                grade_name(*handed_in.key), self.namespace, _request_timeout=REQUEST_SECONDS
            )
        except ApiException as error:
            if error.status == _GONE:
                return None
            raise InfrastructureError(
                f"the cluster does not say which grades there are: {error.reason}"
            ) from None
        grade = read_grade(kept)
        same = grade is not None and grade.submission == digest
        return grade if grade and same and grade.outcome is not Outcome.NOT_GRADED else None


def grade_map(grade: Grade) -> dict[str, Any]:
    """The ConfigMap of a grade."""
    return {
        "metadata": {
            "name": grade_name(grade.student, grade.exercise),
            "labels": {HOLDS: "grade"},
        },
        "data": {_KEY: json.dumps(grade.to_json(), ensure_ascii=False)},
    }


def grade_name(student: str, exercise: str) -> str:
    """The name of a grade's ConfigMap: no student's name can be one."""
    digest = hashlib.sha256(f"{student}\0{exercise}".encode("utf-8", "surrogatepass"))
    return f"grade-{digest.hexdigest()[:32]}"


def read_grade(config_map: Any) -> Grade | None:
    """The grade that a ConfigMap holds; None if it holds none."""
    try:
        return Grade.from_json(json.loads((config_map.data or {})[_KEY]))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
