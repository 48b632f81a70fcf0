"""Contents that may be hostile, read by a process that may not use much."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servicelab.errors import InfrastructureError
from servicelab.grading.intake import reader
from servicelab.grading.intake.refusal import Finding, Refused
from servicelab.grading.intake.submission import Lines
from servicelab.report.safe_text import one_line
from servicelab.verdict import deadlines

_READER = Path(reader.__file__)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document as it was read.

    Attributes:
        value: what it says; anything.
        file: the file's name in the submission.
        lines: where its parts stand.
    """

    value: Any
    file: str
    lines: Lines


def parse(files: Sequence[tuple[str, bytes]]) -> list[Parsed]:
    """The documents of files; empty ones are left out.

    Args:
        files: names and contents.

    Raises:
        Refused: a file is not plain YAML in UTF-8, or reading it uses more than it may.
        InfrastructureError: the reader does not start, or gets no time on this machine.
    """
    answer = _ask(reader.packed([content for _, content in files]))
    try:
        told = json.loads(answer)
        findings = [
            Finding(each["why"], files[each["file"]][0], each["line"], remedy=each["remedy"])
            for each in told["refused"]
        ]
        documents = [
            Parsed(plain(each["node"]), files[each["file"]][0], lines(each["node"], each["line"]))
            for each in told["documents"]
        ]
    except (ValueError, LookupError, TypeError, RecursionError):
        # A reader that was taken over by what it read may answer anything.
        raise _beyond("it could not be read") from None
    if findings:
        raise Refused(findings)
    return documents


def plain(node: Any) -> Any:
    """What a node of the reader's answer says."""
    _, value = node
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def lines(node: Any, line: int) -> Lines:
    """Where a node of the reader's answer and its parts stand."""
    _, value = node
    if isinstance(value, list):
        return Lines(line, {index: lines(item, item[0]) for index, item in enumerate(value)})
    if isinstance(value, dict):
        return Lines(line, {key: lines(item, item[0]) for key, item in value.items()})
    return Lines(line)


def _ask(data: bytes) -> bytes:
    # -I: neither the environment nor the current folder can bring other code in. The reader limits
    # itself: a function to run before it starts is unsafe beside other threads.
    argv = [sys.executable, "-I", "-X", "utf8", str(_READER)]
    deadline = deadlines.current().manifest_read
    # Into files, whose size the reader limits for itself before it reads; a pipe has no end.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            done = subprocess.run(
                argv, input=data, stdout=out, stderr=err, timeout=deadline.seconds, env={}
            )
        except OSError as error:
            raise InfrastructureError(f"the reader of manifests does not start: {error}") from None
        except subprocess.TimeoutExpired:
            # Its processor time has a limit of its own: this says only how busy the machine is.
            raise InfrastructureError(
                f"the manifests could not be read in {deadline.seconds:g} s ({deadline})",
                remedy="give a busy machine more time with --deadline-factor",
            ) from None
        out.seek(0)
        before, ready, answer = out.read().partition(reader.READY)
        if before or not ready:
            err.seek(0)
            last = err.read().decode(errors="replace").strip().rpartition("\n")[2]
            said = one_line(last, 300) or "it says nothing"
            raise InfrastructureError(f"the reader of manifests does not start: {said}")
    if done.returncode != 0:
        raise _beyond(
            f"reading it takes more than {reader.MEMORY_BYTES // 2**20} MiB of memory or "
            f"{reader.CPU_SECONDS} s of processor time"
        )
    return answer


def _beyond(why: str) -> Refused:
    return Refused([Finding(why, remedy="write manifests as kubectl prints them")])
