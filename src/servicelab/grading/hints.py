"""Hints ask before they tell, and never say the answer: the lint that proves it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from servicelab.grading.sheet import Sheet

#: Shorter values stand in a sentence by accident.
_SHORTEST = 3


def leaks(sheet: Sheet) -> list[str]:
    """The hints that contain what a solution has and the starter has not.

    A value that the task itself tells is no secret; the field that it belongs into is, and so is a
    line of the solution.
    """
    exercise = sheet.exercise
    starter = "\n".join(sheet.files(exercise.folder / "starter").values())
    told = _plain(f"{sheet.task}\n{starter}")
    found = []
    for name, folder in exercise.solutions.items():
        solution = "\n".join(sheet.files(folder).values())
        secrets = [*_lines(solution, starter), *_values(solution, starter, told)]
        for criterion in sheet.criteria:
            for number, hint in enumerate(criterion.hints, 1):
                text = _plain(hint)
                found += [
                    f"hint {number} of {criterion.id} contains {secret!r} of {name}"
                    for secret in secrets
                    if _contains(text, secret)
                ]
    return list(dict.fromkeys(found))


def _lines(solution: str, starter: str) -> list[str]:
    """The lines with a key and a value that only the solution has."""
    old = {_line(line) for line in starter.splitlines()}
    new = [_line(line) for line in solution.splitlines()]
    return [line for line in new if re.search(r"\S: *\S", line) and line not in old]


def _values(solution: str, starter: str, told: str) -> list[str]:
    """The values that only the solution has."""
    old = set(_leaves(starter))
    return [
        value
        for value in dict.fromkeys(_leaves(solution))
        if value not in old and len(value) >= _SHORTEST and not _contains(told, value)
    ]


def _leaves(text: str) -> Iterator[str]:
    for document in yaml.safe_load_all(text):
        yield from _scalars(document)


def _scalars(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for value in node.values():
            yield from _scalars(value)
    elif isinstance(node, list):
        for value in node:
            yield from _scalars(value)
    elif node is not None and not isinstance(node, bool):
        yield _plain(str(node))


def _line(line: str) -> str:
    return _plain(line.strip().removeprefix("- "))


def _plain(text: str) -> str:
    return " ".join(text.replace('"', "").replace("'", "").replace("`", "").lower().split())


def _contains(text: str, secret: str) -> bool:
    return bool(re.search(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", text))
