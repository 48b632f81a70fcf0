"""Hostile submissions: each is refused with the sentence that says why, or would be contained.

The folder tests/hostile has one for each way; what can't lie in a repository is made here.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servicelab.grading.intake import Policy, Refused, take_in

CORPUS = Path(__file__).parents[1] / "hostile"
NAMES = sorted(path.name for path in CORPUS.iterdir())
OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata:\n"


def expected(name: str) -> dict[str, Any]:
    """What must happen to a submission."""
    return tomllib.loads((CORPUS / name / "expect.toml").read_text(encoding="utf-8"))


def policy(facts: dict[str, Any]) -> Policy:
    """The usual policy, with the kinds that the case adds."""
    usual = Policy.default()
    more = {(version, kind) for version, kind in facts.get("policy", {}).get("kinds", ())}
    return dataclasses.replace(usual, kinds=usual.kinds | more)


def write(text: str | bytes, file: str = "web.yaml") -> Callable[[Path], object]:
    """Makes a submission of one file."""
    data = text.encode() if isinstance(text, str) else text
    return lambda folder: (folder / file).write_bytes(data)


def named(name: str) -> Callable[[Path], object]:
    """Makes a submission of one file of that name."""
    return write(OBJECT, name)


def each(*makes: Callable[[Path], object]) -> Callable[[Path], object]:
    """Makes one thing after the other."""
    return lambda folder: [make(folder) for make in makes]


def deep_folders(folder: Path) -> None:
    """A folder in a folder in a folder …"""
    inner = folder.joinpath(*"abcdef")
    inner.mkdir(parents=True)
    write(OBJECT)(inner)


def bind(folder: Path) -> None:
    """A socket by the name of a manifest; its path must be short, so it is made from within."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        socket.socket(socket.AF_UNIX).bind("web.yaml")
    finally:
        os.chdir(here)


#: What `made_by` names.
MAKERS: dict[str, Callable[[Path], object]] = {
    "quadratic_text": write(f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 40)}]\n"),
    "endless_number": write(f"{OBJECT}  a: {'9' * 100_000}\n"),
    "deep": write("[" * 100_000),
    "many_values": write(f"{OBJECT}  a: [{'a, ' * 30_000}]\n"),
    "control_character": write("a: \x1b[2J\n"),
    "nul": write("a: b\nc: \0\n"),
    "turned_writing": write("# \u202eabc\na: b\n"),
    "invisible_space": write("kind:\u00a0Service\n"),
    "not_utf_8": write(b"a: b\nb: \xe4\n"),
    "utf_16": write(OBJECT.encode("utf-16")),
    "huge_file": lambda folder: os.truncate(_touched(folder / "web.yaml"), 64 * 2**20),
    "huge_in_parts": each(*(write("#" * 200_000, f"{i}.yaml") for i in range(6))),
    "many_files": each(*(named(f"{i}.yaml") for i in range(51))),
    "many_entries": each(*(named(f"{i}.txt") for i in range(501))),
    "symlink": lambda folder: (folder / "web.yaml").symlink_to("/etc/passwd"),
    "symlink_to_folder": lambda folder: (folder / "more").symlink_to("/etc"),
    "symlink_to_itself": lambda folder: (folder / "web.yaml").symlink_to("web.yaml"),
    "pipe": lambda folder: os.mkfifo(folder / "web.yaml"),
    "socket": bind,
    "deep_folders": deep_folders,
    "name_for_a_shell": named("$(touch was-here).yaml"),
    "name_for_a_terminal": named("a\x1b[2J.yaml"),
    "name_for_a_report": named("<script>alert(1).yaml"),
    "name_for_an_option": named("-rf.yaml"),
    "name_of_bytes": lambda folder: os.close(
        os.open(os.fsencode(folder) + b"/\xff\xfe.yaml", os.O_CREAT | os.O_WRONLY)
    ),
    "long_name": named(f"{'a' * 200}.yaml"),
    "no_manifest": named("web.docx"),
}


def _touched(path: Path) -> Path:
    path.touch()
    return path


@pytest.fixture
def submission(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a hostile submission."""
    folder = tmp_path / "submission"
    folder.mkdir()
    for path in (CORPUS / request.param).iterdir():
        if path.name != "expect.toml":
            write(path.read_bytes(), path.name)(folder)
    if maker := expected(request.param).get("made_by"):
        MAKERS[maker](folder)
    return folder


@pytest.mark.parametrize(
    ("submission", "name"), [(name, name) for name in NAMES], indirect=["submission"], ids=NAMES
)
def test_each_is_refused_for_its_reason_or_left_to_the_cluster(submission: Path, name: str) -> None:
    """Refused with the sentence that names the line and why; what is contained is taken in."""
    facts = expected(name)
    if facts["outcome"] == "contained":
        assert take_in(submission, policy(facts), namespace="n").documents
        return

    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        take_in(submission, policy(facts), namespace="n")

    told = str(refused.value)
    assert [part for part in facts["says"] if part not in told] == [], told
    assert told.replace("\n", "").isprintable()
    assert refused.value.exit_code == 4
    assert time.monotonic() - began < 10


def test_each_case_is_used() -> None:
    """A maker that no case names, or a case without its files, would test nothing."""
    facts = {name: expected(name) for name in NAMES}

    assert {each["made_by"] for each in facts.values() if "made_by" in each} == set(MAKERS)
    assert {each["outcome"] for each in facts.values()} == {"refused", "contained"}
    for name, fact in facts.items():
        assert fact["says"] or fact["outcome"] == "contained", name
