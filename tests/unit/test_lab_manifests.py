"""A manifest that can't be used is told by file, place and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicelab.errors import UsageError
from servicelab.lab.manifests import parse_manifest, read_manifest

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"


def test_documents_come_in_order_and_empty_ones_are_left_out() -> None:
    """Two objects joined by ---, with an empty document in between, are two."""
    documents = parse_manifest(f"{POD}---\n---\n{POD.replace('web', 'other')}", "web.yaml")

    assert [document["metadata"]["name"] for document in documents] == ["web", "other"]


@pytest.mark.parametrize("missing", ["apiVersion", "kind", "metadata"])
def test_an_object_without_what_every_object_has(missing: str) -> None:
    """The error names the document, the file and the first field that is missing."""
    lines = [line for line in POD.splitlines() if not line.startswith(missing)]

    with pytest.raises(UsageError, match=rf"document 2 of web\.yaml has no {missing}"):
        parse_manifest(f"{POD}---\n" + "\n".join(lines), "web.yaml")


def test_a_document_that_is_no_mapping() -> None:
    """A list or a text is no object."""
    with pytest.raises(UsageError, match=r"document 1 of web\.yaml has no apiVersion"):
        parse_manifest("- apiVersion: v1\n", "web.yaml")


def test_text_that_is_not_yaml() -> None:
    """The error names the line, counted from 1: here that of an alias that stands for nothing."""
    with pytest.raises(UsageError, match=r"web.yaml line 2 is not YAML: "):
        parse_manifest("kind: Pod\nmetadata: {name: *web}\n", "web.yaml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The error says which manifests there are."""
    for name in ("web.yaml", "api.yaml", "README.md"):
        (tmp_path / name).write_text(POD, encoding="utf-8")

    with pytest.raises(UsageError, match=r"no manifest wep\.yaml in ") as refused:
        read_manifest(tmp_path / "wep.yaml")

    assert str(refused.value).endswith("there is: api.yaml, web.yaml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are told as such, with the file."""
    file = tmp_path / "web.yaml"
    file.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(UsageError, match=r"web\.yaml can't be read"):
        read_manifest(file)
