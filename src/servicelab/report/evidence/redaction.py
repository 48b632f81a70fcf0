"""What must not be kept: the data of Secrets, wherever it turns up."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

REDACTED = "(redacted)"
_SHORTEST = 8
"""Characters of a value that is looked for elsewhere; shorter ones would hit common words."""
_MOST_VALUES = 500

#: Holds the whole object as it was applied, data included.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SECRET_NAME = re.compile(r"passw|secret|token|credential|api_?key|private_?key", re.IGNORECASE)


class Redaction:
    """Takes the data out of Secrets, and their values out of everything else that is saved.

    Threads may share it.
    """

    def __init__(self) -> None:
        self._values: set[str] = set()

    def of_object(self, obj: dict[str, Any]) -> dict[str, Any]:
        """The object without what is secret in it, and without its bookkeeping."""
        metadata = dict(obj.get("metadata") or {})
        metadata.pop("managedFields", None)
        without = {**obj, "metadata": metadata}
        if obj.get("kind") == "Secret":
            metadata["annotations"] = {
                key: REDACTED if key == _LAST_APPLIED else value
                for key, value in (metadata.get("annotations") or {}).items()
            }
            for field in ("data", "stringData"):
                if isinstance(values := obj.get(field), Mapping):
                    self._learn(values, encoded=field == "data")
                    without[field] = {key: _size(value) for key, value in values.items()}
            return without
        redacted: dict[str, Any] = _without_passwords(without)
        return redacted

    def of_text(self, text: str) -> str:
        """The text with each known secret value replaced."""
        # Longest first: a value may be a part of another.
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, REDACTED)
        return text

    def _learn(self, values: Mapping[str, Any], *, encoded: bool) -> None:
        for value in values.values():
            if isinstance(value, str) and len(self._values) < _MOST_VALUES:
                self._values |= {each for each in _forms(value, encoded) if len(each) >= _SHORTEST}


def _forms(value: str, encoded: bool) -> Iterator[str]:
    """A value as it may turn up: encoded, decoded, and each of its lines."""
    yield value
    if encoded:
        try:
            value = base64.b64decode(value).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            return
    yield from (value, *(line.strip() for line in value.splitlines()))


def _size(value: object) -> str:
    return f"{REDACTED[:-1]}, {len(str(value))} characters)"


def _without_passwords(value: Any) -> Any:
    """A copy in which no environment variable called like a secret has its value."""
    if isinstance(value, dict):
        if _SECRET_NAME.search(str(value.get("name", ""))) and isinstance(value.get("value"), str):
            value = {**value, "value": REDACTED}
        return {key: _without_passwords(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_passwords(each) for each in value]
    return value
