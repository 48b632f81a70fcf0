"""A lab's manifests: plain files that anyone can `kubectl apply`, put into the test's namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from servicelab.errors import UsageError

Document = dict[str, Any]


def read_manifest(path: Path) -> list[Document]:
    """Read the objects of a manifest file.

    Raises:
        UsageError: the file is missing, is not YAML, or holds something that is no object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = ", ".join(sorted(other.name for other in path.parent.glob("*.yaml"))) or "none"
        raise UsageError(
            f"there is no manifest {path.name} in {path.parent}", remedy=f"there is: {beside}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the manifest {path} can't be read: {error}") from None
    return parse_manifest(text, str(path))


def parse_manifest(text: str, where: str) -> list[Document]:
    """The objects of a manifest's text.

    Args:
        text: YAML, documents separated by `---`.
        where: what to call it in an error.

    Raises:
        UsageError: it is not YAML, or holds something that is no object.
    """
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it can't be parsed"
        raise UsageError(f"{where}{line} is not YAML: {problem}") from None
    for number, document in enumerate(documents, 1):
        missing = [
            key
            for key in ("apiVersion", "kind", "metadata")
            if not isinstance(document, dict) or not document.get(key)
        ]
        if missing:
            raise UsageError(f"document {number} of {where} has no {missing[0]}")
    return documents
