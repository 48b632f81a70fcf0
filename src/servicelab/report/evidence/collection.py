"""Collecting evidence: everything at once, within a deadline, into a folder of its own.

What could not be had is said in the folder, and stops nothing: the fault of a test may well be what
keeps evidence from being had.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from servicelab.report.evidence.redaction import Redaction
from servicelab.report.evidence.sources import Piece
from servicelab.report.safe_text import file_name, one_line, printable, within

INDEX = "evidence.json"
PAGE = "index.html"
SCHEMA = 1
MOST_CHARACTERS = 400_000
"""Of one file; a node's rules for some hundred Services, or 4000 lines of a log."""
MOST_FILES = 150
_THREADS = 12
"""The API server and Docker are waited for, not computed with: more than there are processors."""
_TITLE = 120


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file of a folder of evidence.

    Attributes:
        path: below the folder, with "/".
        title: what it holds; may come from the cluster.
        size: in bytes.
        cut: was something left out?
    """

    path: str
    title: str
    size: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that could not be had."""

    title: str
    why: str


@dataclass
class Evidence:
    """What was collected.

    Attributes:
        about: the claim, mode, test and verdict.
        seconds: how long the collecting took.
        files: what was saved.
        missing: what could not be had.
    """

    about: Mapping[str, Any]
    seconds: float = 0
    files: list[SavedFile] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As evidence.json holds it."""
        return {
            "schema": SCHEMA,
            **self.about,
            "seconds": round(self.seconds, 2),
            "files": [asdict(each) for each in self.files],
            "missing": [asdict(each) for each in self.missing],
        }


def collect(
    pieces: Sequence[Piece],
    folder: Path,
    *,
    about: Mapping[str, Any],
    redaction: Redaction,
    seconds: float,
) -> Evidence:
    """Get all pieces at once and save them.

    Args:
        pieces: what to get.
        folder: where to; empty, or yet to be made. It has its files once all are written.
        about: goes into the folder's evidence.json.
        redaction: takes secrets out of each text.
        seconds: what has not come by then is missing.

    Raises:
        OSError: it can't be written.
    """
    started = time.monotonic()
    evidence = Evidence(about)
    texts = _ask(pieces, seconds, evidence)
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    taken: set[str] = set()
    for piece, text in texts[:MOST_FILES]:
        evidence.files.append(_save(unfinished, piece, text, redaction, taken))
    evidence.missing += [
        Missing(one_line(piece.title, _TITLE), f"more than {MOST_FILES} files")
        for piece, _ in texts[MOST_FILES:]
    ]
    evidence.seconds = time.monotonic() - started
    content = json.dumps(evidence.to_dict(), indent=1, ensure_ascii=False)
    (unfinished / INDEX).write_text(content + "\n", "utf-8")
    unfinished.replace(folder)
    return evidence


def _ask(pieces: Sequence[Piece], seconds: float, evidence: Evidence) -> list[tuple[Piece, str]]:
    """The texts in the order of their pieces; whatever goes wrong is noted as missing."""
    order: list[Piece] = []
    texts: dict[int, str] = {}
    waiting: dict[Future[str | Sequence[Piece]], Piece] = {}
    end = time.monotonic() + seconds
    asking = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="evidence")

    def ask(more: Sequence[Piece]) -> None:
        order.extend(more)
        waiting.update({asking.submit(piece.get): piece for piece in more})

    try:
        ask(pieces)
        while waiting:
            done, _ = wait(waiting, max(0, end - time.monotonic()), FIRST_COMPLETED)
            if not done:
                break
            for future in done:
                piece = waiting.pop(future)
                if error := future.exception():
                    evidence.missing.append(_missing(piece, error))
                elif isinstance(answer := future.result(), str):
                    texts[id(piece)] = answer
                else:
                    ask(answer)
    finally:
        # Each call has a time-out of its own: what still runs ends by itself.
        asking.shutdown(wait=False, cancel_futures=True)
    evidence.missing += [
        Missing(one_line(piece.title, _TITLE), f"had not come within {seconds:g} s")
        for piece in waiting.values()
    ]
    return [(piece, texts[id(piece)]) for piece in order if id(piece) in texts]


def _missing(piece: Piece, error: BaseException) -> Missing:
    status, reason = getattr(error, "status", None), getattr(error, "reason", None)
    words = f"{status} {reason}" if isinstance(status, int) else str(error)
    return Missing(one_line(piece.title, _TITLE), one_line(f"{type(error).__name__}: {words}", 300))


def _save(
    folder: Path, piece: Piece, text: str, redaction: Redaction, taken: set[str]
) -> SavedFile:
    *folders, name = [file_name(part) for part in piece.path]
    path = "/".join((*folders, name))
    while path in (INDEX, PAGE) or path in taken:
        name = f"again-{name}"
        path = "/".join((*folders, name))
    taken.add(path)
    # An endless text is not looked through endlessly; twice as much as is kept, so that no secret
    # value that the first cut goes through can be among it.
    margin = 2 * MOST_CHARACTERS
    near = text[:margin] if piece.keep == "first" else text[-margin:]
    kept, cut = within(redaction.of_text(near), MOST_CHARACTERS, piece.keep, of=len(text))
    target = folder.joinpath(*folders, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(printable(kept), "utf-8")
    return SavedFile(path, one_line(piece.title, _TITLE), target.stat().st_size, cut)


def read_index(folder: Path) -> dict[str, Any]:
    """What a folder's evidence.json says; empty if it has none that can be read."""
    try:
        found = json.loads((folder / INDEX).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
