"""What a manifest may hold: each kind of object held against a policy, field by field.

Every field is on a list, or is refused: what Kubernetes will learn to do later is refused too.
"""

from __future__ import annotations

from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.refusal import Finding
from servicelab.grading.intake.rules import objects, whole
from servicelab.grading.intake.rules.place import Place
from servicelab.grading.intake.submission import Submission

__all__ = ["findings_about"]


def findings_about(submission: Submission, policy: Policy) -> list[Finding]:
    """Every reason to refuse a submission; none if it keeps to the policy."""
    findings: list[Finding] = []
    for document in submission.documents:
        place = Place(document, (), document.manifest, findings)
        objects.check(place, policy, submission.namespace)
    whole.check(submission, policy, findings)
    return findings
