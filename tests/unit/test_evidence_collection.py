"""Evidence is collected at once, within its time, and into its folder alone."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from servicelab.errors import InfrastructureError
from servicelab.report.evidence.collection import (
    MOST_CHARACTERS,
    MOST_FILES,
    Evidence,
    collect,
    read_index,
)
from servicelab.report.evidence.redaction import Redaction
from servicelab.report.evidence.sources import Piece


def piece(text: str, *path: str, **details: Any) -> Piece:
    return Piece(details.pop("title", "a title"), path or ("a.txt",), lambda: text, **details)


def collected(folder: Path, *pieces: Piece, seconds: float = 5) -> Evidence:
    about = {"claim": "CIP-04", "mode": "iptables"}
    return collect(pieces, folder, about=about, redaction=Redaction(), seconds=seconds)


def files_below(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_each_piece_is_a_file_and_the_index_names_it(tmp_path: Path) -> None:
    """A piece may give further pieces, which are files of their own."""
    more = Piece("logs", ("logs",), lambda: [piece("line\n", "logs", "web-1.txt")])
    folder = tmp_path / "cip-04-iptables"

    collected(folder, piece("x\n", "fault.txt", title="what went wrong"), more)

    found = files_below(folder)
    index = json.loads(found.pop("evidence.json"))
    assert found == {"fault.txt": "x\n", "logs/web-1.txt": "line\n"}
    assert index["claim"] == "CIP-04"
    assert index["files"][0] == {
        "path": "fault.txt",
        "title": "what went wrong",
        "size": 2,
        "cut": False,
    }
    assert index == read_index(folder)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_pieces_are_asked_for_at_the_same_time(tmp_path: Path) -> None:
    """Each of four waits for the others: one after the other they would never come."""
    together = threading.Barrier(4, timeout=10)

    def get() -> str:
        together.wait()
        return "here"

    pieces = [Piece(f"{n}", (f"{n}.txt",), get) for n in range(4)]

    assert len(collected(tmp_path / "e", *pieces).files) == 4


def test_what_fails_is_said_and_stops_nothing(tmp_path: Path) -> None:
    """The API server's refusal, a dead node, an error of our own: each a line with its reason."""
    from kubernetes.client import ApiException

    def broken(error: Exception) -> Piece:
        def get() -> str:
            raise error

        return Piece(f"about {type(error).__name__}", ("x",), get)

    refusal = ApiException(status=403, reason="Forbidden")
    refusal.body = "x" * 10_000
    errors = (refusal, InfrastructureError("no such node"), RecursionError("too deep"))
    evidence = collected(tmp_path / "e", *map(broken, errors), piece("sound"))

    assert [each.path for each in evidence.files] == ["a.txt"]
    assert {each.why for each in evidence.missing} == {
        "ApiException: 403 Forbidden",
        "InfrastructureError: no such node",
        "RecursionError: too deep",
    }


def test_what_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """What has not come in time is missing; the rest is there."""
    let_go = threading.Event()

    def hangs() -> str:
        let_go.wait(10)
        return "too late"

    started = time.monotonic()
    evidence = collected(
        tmp_path / "e", Piece("rules of dev-worker", ("r",), hangs), piece("x"), seconds=0.2
    )
    took = time.monotonic() - started
    let_go.set()

    assert took < 5
    assert [each.title for each in evidence.missing] == ["rules of dev-worker"]
    assert evidence.missing[0].why == "had not come within 0.2 s"
    assert [each.path for each in evidence.files] == ["a.txt"]


@pytest.mark.parametrize(
    "path",
    [
        ("../../outside.txt",),
        ("/etc/outside.txt",),
        ("..", "..", "outside.txt"),
        ("logs", "../../../outside.txt"),
        ("a\x00b.txt",),
        ("x" * 4000,),
        ("index.html",),
        ("evidence.json",),
        ("",),
    ],
)
def test_no_path_leads_out_of_the_folder(tmp_path: Path, path: tuple[str, ...]) -> None:
    """Names come from the cluster: whatever they are, the file lies in the folder."""
    folder = tmp_path / "deep" / "er" / "e"
    collected(folder, piece("here", *path))

    found = files_below(folder)
    assert list(found.values()).count("here") == 1
    assert len(files_below(tmp_path)) == len(found) == 2
    assert found["evidence.json"].startswith("{")
    assert "index.html" not in found


def test_equal_names_are_two_files(tmp_path: Path) -> None:
    """A second Pod of the same name hides nothing."""
    collected(tmp_path / "e", piece("one", "web.txt"), piece("two", "web.txt"))

    found = files_below(tmp_path / "e")
    assert {found["web.txt"], found["again-web.txt"]} == {"one", "two"}


@pytest.mark.parametrize(("keep", "kept"), [("first", "start"), ("last", "end")])
def test_a_huge_log_is_cut(tmp_path: Path, keep: Any, kept: str) -> None:
    """Its more telling end is kept, and that it was cut is said in the file and in the index."""
    huge = "start" + "\x1b[31m" * 10_000_000 + "end"
    started = time.monotonic()
    evidence = collected(tmp_path / "e", piece(huge, keep=keep))

    (file,) = evidence.files
    text = (tmp_path / "e" / file.path).read_text("utf-8")
    assert file.cut
    assert file.size < 8 * MOST_CHARACTERS
    assert kept in text[:100] + text[-100:]
    assert f"{len(huge) - MOST_CHARACTERS} characters" in text
    assert "\x1b" not in text
    assert time.monotonic() - started < 5


def test_a_secret_is_in_no_file(tmp_path: Path) -> None:
    """A value that one piece learns is taken out of all of them, also where a text is cut."""
    redaction = Redaction()
    secret = {"kind": "Secret", "metadata": {}, "stringData": {"password": "hunter2hunter2"}}

    def objects() -> str:
        return str(redaction.of_object(secret))

    at_the_cut = "x" * (MOST_CHARACTERS - 7) + "hunter2hunter2" + "y" * MOST_CHARACTERS
    pieces = [
        piece("log: hunter2hunter2", "log.txt"),
        Piece("objects", ("objects.yaml",), objects),
        piece(at_the_cut, "long.txt"),
    ]
    collect(pieces, tmp_path / "e", about={}, redaction=redaction, seconds=5)

    assert not any("hunter2" in text for text in files_below(tmp_path / "e").values())


def test_too_many_files_are_listed_as_missing(tmp_path: Path) -> None:
    """A thousand Pods do not make a thousand files."""
    evidence = collected(tmp_path / "e", *(piece("x", f"{n}.txt") for n in range(MOST_FILES + 10)))

    assert len(evidence.files) == MOST_FILES
    assert len(evidence.missing) == 10


def test_a_broken_index_is_none(tmp_path: Path) -> None:
    """Somebody edited it: the folder is shown without it."""
    assert read_index(tmp_path) == {}
    (tmp_path / "evidence.json").write_text("{")
    assert read_index(tmp_path) == {}
    (tmp_path / "evidence.json").write_text("[]")
    assert read_index(tmp_path) == {}
