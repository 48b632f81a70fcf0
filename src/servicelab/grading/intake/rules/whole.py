"""What a submission holds in all."""

from __future__ import annotations

from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.refusal import Finding
from servicelab.grading.intake.rules.place import Place
from servicelab.grading.intake.rules.workloads import pods_of
from servicelab.grading.intake.submission import Document, Submission


def check(submission: Submission, policy: Policy, findings: list[Finding]) -> None:
    """Count objects, Pods and Services, and look for objects that stand twice."""
    documents = submission.documents
    if len(documents) > policy.max_objects:
        findings.append(
            Finding(f"it holds {len(documents)} objects, this exercise takes {policy.max_objects}")
        )
    pods = sum(pods_of(Place(each, (), each.manifest, [])) for each in documents)
    if pods > policy.max_pods:
        findings.append(Finding(f"it makes {pods} Pods, this exercise takes {policy.max_pods}"))
    services = submission.of_kind("Service")
    _check_number(services, policy.max_services, "Services", findings)
    balancers = [each for each in services if _type_of(each) == "LoadBalancer"]
    what = "Services of type LoadBalancer, each of which holds an address of the pool"
    _check_number(balancers, policy.max_load_balancers, what, findings)
    _check_twice(documents, findings)


def _type_of(service: Document) -> object:
    spec = service.manifest.get("spec")
    return spec.get("type") if isinstance(spec, dict) else None


def _check_number(found: list[Document], most: int, what: str, findings: list[Finding]) -> None:
    if len(found) > most:
        first_too_many = found[most]
        findings.append(
            Finding(
                f"these are {len(found)} {what}; this exercise takes {most}",
                first_too_many.file,
                first_too_many.line,
            )
        )


def _check_twice(documents: tuple[Document, ...], findings: list[Finding]) -> None:
    first: dict[tuple[str, str, str], Document] = {}
    for document in documents:
        name = document.manifest["metadata"].get("name")
        key = (document.manifest["apiVersion"], document.kind, str(name))
        before = first.setdefault(key, document)
        if before is not document and name:
            findings.append(
                Finding(
                    f"{document.kind} {name} stands twice, first in {before.file} line "
                    f"{before.line}: the second would replace it",
                    document.file,
                    document.line,
                    "metadata.name",
                    "leave one out, or name them apart",
                )
            )
