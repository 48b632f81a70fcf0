"""Manifests that were taken in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from servicelab.grading.intake.policy import Policy

#: A field's place: keys of mappings and indices of lists, outermost first.
FieldPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Where a value and its parts stand.

    Attributes:
        line: counted from 1; that of the key, where the value has one.
        parts: the same of a mapping's values, by key, or of a list's items, by index.
    """

    line: int
    parts: Mapping[str | int, Lines] = field(default_factory=dict)

    def of(self, path: FieldPath) -> int:
        """The line of a field; of what is nearest around it, where there is no such field."""
        here = self
        for step in path:
            if step not in here.parts:
                break
            here = here.parts[step]
        return here.line


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a submission.

    Attributes:
        manifest: the object as plain data, with its namespace filled in.
        file: the file's name in the submission.
        lines: where it and its fields stand in the file.
    """

    manifest: dict[str, Any]
    file: str
    lines: Lines

    @property
    def line(self) -> int:
        """Where it begins, counted from 1."""
        return self.lines.line

    @property
    def kind(self) -> str:
        """Such as "Service"."""
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        """The object's."""
        return str(self.manifest["metadata"]["name"])

    def line_of(self, *path: str | int) -> int:
        """The line of a field: `line_of("spec", "ports", 0, "port")`."""
        return self.lines.of(path)

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.file} line {self.line})"


@dataclass(frozen=True, slots=True)
class Submission:
    """What somebody handed in: read, and found to keep to a policy.

    Attributes:
        documents: its objects, Lists unfolded, in the order of the files' names.
        files: the files that were read, by name.
        passed_over: files that were not read, since they are no manifests by name.
        digest: SHA-256 of the names and contents of the files that were read, in hexadecimal.
        namespace: where the objects are to be applied.
        policy: what it keeps to.
    """

    documents: tuple[Document, ...]
    files: tuple[str, ...]
    passed_over: tuple[str, ...]
    digest: str
    namespace: str
    policy: Policy

    @property
    def manifests(self) -> list[dict[str, Any]]:
        """The objects as plain data."""
        return [document.manifest for document in self.documents]

    def of_kind(self, kind: str) -> list[Document]:
        """The objects of one kind."""
        return [document for document in self.documents if document.kind == kind]

    @property
    def fixed_node_ports(self) -> frozenset[int]:
        """Node ports that its Services ask for: a cluster gives each of them out once."""
        return frozenset(
            port["nodePort"]
            for document in self.of_kind("Service")
            for port in document.manifest["spec"].get("ports") or ()
            if port.get("nodePort")
        )


def written(path: Sequence[str | int]) -> str:
    """A field's place as text: `spec.ports[0].port`; keys with dots in quotes."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("-", "").replace("_", "").isalnum():
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text
