"""A value in a manifest, with its place, so that whoever looks at it can say where it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from servicelab.grading.intake.refusal import Finding
from servicelab.grading.intake.submission import Document, FieldPath, written

_LONGEST_TYPO = 60
_MOST_FINDINGS = 200
"""Nobody reads more, and looking for what each of 20 000 fields may have meant takes a while."""


@dataclass(frozen=True, slots=True)
class Place:
    """A value in a document.

    Attributes:
        document: the object that it is part of.
        path: the field's place in the document.
        value: what it says; None if there is no such field.
        findings: what is found about the submission, in which this one's are written.
    """

    document: Document
    path: FieldPath
    value: Any
    findings: list[Finding]

    def refuse(self, why: str, remedy: str = "") -> None:
        """Write down that this value is not taken."""
        if self.enough:
            return
        line = self.document.line_of(*self.path)
        self.findings.append(Finding(why, self.document.file, line, written(self.path), remedy))

    @property
    def enough(self) -> bool:
        """So much has been found that nothing more is written down."""
        return len(self.findings) >= _MOST_FINDINGS

    def at(self, *keys: str) -> Place:
        """The value of a key of this mapping, and so on; empty if there is no such key."""
        here = self
        for key in keys:
            value = here.value.get(key) if isinstance(here.value, dict) else None
            here = Place(self.document, (*here.path, key), value, self.findings)
        return here

    @property
    def given(self) -> bool:
        """It says something: it is there and not empty, zero or false."""
        return bool(self.value)

    def fields(self) -> dict[str, Place]:
        """The values of this mapping that say something, by key."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            self.refuse("a mapping must stand here: keys with values")
            return {}
        return {key: self.at(key) for key, value in self.value.items() if value is not None}

    def items(self) -> list[Place]:
        """The items of this list."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            self.refuse("a list must stand here: items with a dash before each")
            return []
        return [
            Place(self.document, (*self.path, index), item, self.findings)
            for index, item in enumerate(self.value)
        ]

    def text(self) -> str:
        """This text; "" if there is none."""
        if self.value is None or isinstance(self.value, str):
            return self.value or ""
        what = _in_words(self.value)
        self.refuse(f"{what} stands where text must stand", "put it in quotes")
        return ""

    def whole(self, otherwise: int = 0) -> int:
        """This whole number.

        Args:
            otherwise: what it is when it is not given.
        """
        if self.value is None:
            return otherwise
        if isinstance(self.value, int) and not isinstance(self.value, bool):
            return self.value
        self.refuse("a whole number must stand here", "write digits, without quotes")
        return otherwise

    def between(self, least: int, most: int, what: str) -> int | None:
        """This whole number, if it is given and lies there; else None."""
        number = self.whole(otherwise=least)
        if self.value is None or not isinstance(self.value, int):
            return None
        if not least <= number <= most:
            self.refuse(f"{what} must lie between {least} and {most}, not {number}")
            return None
        return number

    def only(self, allowed: Iterable[str], refused: dict[str, str], of: str) -> dict[str, Place]:
        """The fields of this mapping that are allowed; the others are refused.

        Args:
            allowed: their names.
            refused: why others are refused, by name.
            of: what has such fields: "a Service".
        """
        known = set(allowed)
        found = {}
        for key, place in self.fields().items():
            if key in known:
                found[key] = place
            elif self.enough:
                break
            elif key not in refused:
                place.refuse(f"{of} has no field {key} that exercises take", _meant(key, known))
            elif place.given:
                place.refuse(refused[key], f"leave {key} out")
        return found

    def texts(self, of: str) -> dict[str, str]:
        """This mapping of text to text, such as labels."""
        found = {}
        for key, place in self.fields().items():
            if isinstance(place.value, str):
                found[key] = place.value
            else:
                what = _in_words(place.value)
                place.refuse(f"{of} are text, but this is {what}", "put the value in quotes")
        return found


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return f"a boolean ({str(value).lower()})"
    if isinstance(value, int | float):
        return f"a number ({value})"
    return "a mapping" if isinstance(value, dict) else "a list"


def _meant(key: str, known: Collection[str]) -> str:
    near = get_close_matches(key[:_LONGEST_TYPO], sorted(known), n=1)
    return f"is {near[0]} meant?" if near else f"leave {key} out"
