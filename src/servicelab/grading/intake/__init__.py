"""Manifests that anybody may have written: read within limits, held against a policy, applied.

    submission = take_in(folder, Policy.default(), namespace=namespace)
    with applied(cluster, submission, namespace):
        ...  # ask

What can't be taken in is `Refused`, with a sentence for each line that is the reason. Nothing that
a manifest says is executed, followed or believed on the way.
"""

from servicelab.grading.intake.application import applied
from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.refusal import Finding, Refused, RefusedByServer
from servicelab.grading.intake.submission import Document, Submission
from servicelab.grading.intake.taking import take_in

__all__ = [
    "Document",
    "Finding",
    "Policy",
    "Refused",
    "RefusedByServer",
    "Submission",
    "applied",
    "take_in",
]
