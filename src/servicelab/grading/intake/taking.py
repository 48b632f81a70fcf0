"""From what was handed in to a submission."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servicelab.grading.intake.gathering import gather
from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.reading import Parsed, parse
from servicelab.grading.intake.refusal import Finding, Refused
from servicelab.grading.intake.rules import findings_about
from servicelab.grading.intake.submission import Document, Submission

#: What `kubectl create --dry-run=client -o yaml` prints although it says nothing.
_EMPTY: tuple[object, ...] = (None, "", {}, [])


def take_in(path: Path, policy: Policy, *, namespace: str) -> Submission:
    """Read what somebody handed in, and see that it keeps to a policy; nothing is applied.

    Args:
        path: a manifest, or a folder with manifests (.yaml, .yml, .json) in it and below it.
        policy: what it may hold.
        namespace: where its objects are to be applied.

    Raises:
        Refused: it can't be read, or breaks the policy; has a finding for each reason.
        UsageError: there is no such file or folder.
        InfrastructureError: this machine could not read it, whatever it holds.
    """
    gathered = gather(path)
    parsed = parse(gathered.files)
    if not parsed:
        raise Refused([Finding("there is no object in it", remedy="hand in manifests")])
    documents: list[Document] = []
    findings: list[Finding] = []
    for each in _unfolded(parsed, findings):
        document = _document(each, namespace, policy, findings)
        if document is not None:
            documents.append(document)
    submission = Submission(
        tuple(documents),
        tuple(name for name, _ in gathered.files),
        gathered.passed_over,
        digest_of(gathered.files),
        namespace,
        policy,
    )
    findings += findings_about(submission, policy)
    if findings:
        order = {name: place for place, name in enumerate(submission.files)}
        findings.sort(key=lambda finding: (order.get(finding.file, -1), finding.line))
        raise Refused(dict.fromkeys(findings))
    return submission


def digest_of(files: tuple[tuple[str, bytes], ...]) -> str:
    """SHA-256 of the names and contents of files, in hexadecimal."""
    digest = hashlib.sha256()
    for name, content in files:
        for part in (name.encode(), content):
            digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


def _unfolded(parsed: list[Parsed], findings: list[Finding]) -> Iterator[Parsed]:
    """The objects, with a List replaced by what it holds."""
    for each in parsed:
        value = each.value
        if not (
            isinstance(value, dict)
            and (value.get("apiVersion"), value.get("kind"))
            == (
                "v1",
                "List",
            )
        ):
            yield each
            continue
        items = value.get("items")
        if not isinstance(items, list):
            findings.append(Finding("this List has no items", each.file, each.lines.line, "items"))
            continue
        places = each.lines.parts["items"].parts
        for index, item in enumerate(items):
            lines = places[index]
            if isinstance(item, dict) and item.get("kind") == "List":
                why = "a List stands in a List"
                findings.append(Finding(why, each.file, lines.line, f"items[{index}]"))
            else:
                yield Parsed(item, each.file, lines)


def _document(
    parsed: Parsed, namespace: str, policy: Policy, findings: list[Finding]
) -> Document | None:
    """An object that has the fields that every object has, or None and a finding."""
    value = parsed.value
    if why := _missing(value):
        findings.append(Finding(why, parsed.file, parsed.lines.line))
        return None
    tidy = _tidied(value, namespace, policy.task_namespace)
    return Document(tidy, parsed.file, parsed.lines)


def _missing(value: Any) -> str:
    """What an object lacks, in words; "" if nothing."""
    if not isinstance(value, dict):
        return "this is no Kubernetes object, but text, a number or a list"
    for key in ("apiVersion", "kind"):
        if not isinstance(value.get(key), str) or not value[key]:
            return f"this object does not say its {key}"
    if not isinstance(value.get("metadata"), dict):
        return "this object has no metadata, so it has no name"
    return ""


def _tidied(value: dict[str, Any], namespace: str, task_namespace: str) -> dict[str, Any]:
    """A copy without the empty fields that kubectl prints, with the namespace in it."""
    tidy = dict(value)
    if _says_nothing(tidy.get("status", {})):
        tidy.pop("status", None)
    tidy["metadata"] = {
        key: item
        for key, item in value["metadata"].items()
        if not (key == "creationTimestamp" and item in _EMPTY)
    }
    if tidy["metadata"].get("namespace") in (None, "", task_namespace):
        tidy["metadata"]["namespace"] = namespace
    return tidy


def _says_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_says_nothing(item) for item in value.values())
    return value in _EMPTY
