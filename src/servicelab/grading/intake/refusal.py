"""What is said about manifests that are not taken in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from servicelab.errors import ServicelabError
from servicelab.report.safe_text import one_line

_LONGEST = 400
"""Characters of a sentence; what a manifest says in it may be endless."""
_MOST_SHOWN = 20
"""Findings in the error's text; `Refused.findings` has them all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason not to take manifests in; its texts are safe to print on a terminal.

    Attributes:
        why: one sentence, without a full stop at the end.
        file: the file's name in the submission; "" if it is about all of it.
        line: in that file, counted from 1; 0 if it is about all of the file.
        path: the field, such as "spec.template.spec.hostNetwork"; "" if it is about no field.
        remedy: what to do about it; may be empty.
    """

    why: str
    file: str = ""
    line: int = 0
    path: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        for name in ("why", "file", "path", "remedy"):
            object.__setattr__(self, name, one_line(getattr(self, name), _LONGEST))

    @property
    def place(self) -> str:
        """Where it is: "web.yaml line 7"; "" if it is about all of the submission."""
        return f"{self.file} line {self.line}" if self.line else self.file

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.place, self.path) if part)
        told = f"{where}: {self.why}" if where else self.why
        return f"{told}; {self.remedy}" if self.remedy else told

    def to_dict(self) -> dict[str, str | int]:
        """For JSON."""
        return {
            "file": self.file,
            "line": self.line,
            "path": self.path,
            "why": self.why,
            "remedy": self.remedy,
        }


class Refused(ServicelabError):
    """The manifests are not taken in; nothing of them has been applied.

    Args:
        findings: the reasons, at least one.

    Attributes:
        findings: the reasons, in the order of the files.
    """

    exit_code = 4
    heading = "the manifests are not taken in"

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        shown = [str(finding) for finding in self.findings[:_MOST_SHOWN]]
        if more := len(self.findings) - len(shown):
            shown.append(f"{more} more")
        told = (
            f": {shown[0]}" if len(shown) == 1 else ":" + "".join(f"\n  {each}" for each in shown)
        )
        super().__init__(self.heading + told)


class RefusedByServer(Refused):
    """The API server does not take one of the manifests: what it holds is wrong or not allowed.

    Objects that stood before it have been applied.
    """

    heading = "the API server does not take the manifests"
