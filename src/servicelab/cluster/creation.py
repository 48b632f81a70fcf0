"""Running `kind create cluster`: its steps as they end, stopped cleanly, explained on failure."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from servicelab.errors import InfrastructureError
from servicelab.host import ProcessIdentity, process_identity
from servicelab.verdict import NotProved, deadlines, eventually

#: kind's own words for the end of a step, e.g. " ✓ Starting control-plane 🕹️ "
_STEP = re.compile(r"[✓✗] (?P<step>[A-Za-z -]+?)\s*(?:[^\x00-\x7f].*)?$")


def kind_step(line: str) -> str | None:
    """The step that a line of kind's output says is done, without its picture; else None."""
    match = _STEP.search(line.strip())
    return match["step"].strip() if match and line.strip().startswith("✓") else None


def run_kind(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    on_step: Callable[[str], None] = lambda step: None,
    on_start: Callable[[ProcessIdentity], object] = lambda process: None,
) -> None:
    """Run a kind command, calling back as each of its steps ends.

    The command runs in a process group of its own: Ctrl-C reaches us, and we decide.

    Args:
        argv: kind's path and arguments.
        env: its whole environment.
        log: file that gets all it prints.
        on_step: called with a step's name ("Preparing nodes", "Starting control-plane", …).
        on_start: called with the process that runs it.

    Raises:
        InfrastructureError: kind ended with an error; the sentence holds its last words.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as record:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(env),
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            on_start(process_identity(process.pid))
            for line in process.stdout:
                record.write(line)
                record.flush()
                if step := kind_step(line):
                    on_step(step)
            status = process.wait()
        except BaseException:
            if process.poll() is None:
                stop_kind(process_identity(process.pid))
                process.wait()
            raise
    if status != 0:
        raise InfrastructureError(
            f"`{Path(argv[0]).name} {' '.join(argv[1:3])}` ended with {status}: {_last_words(log)}",
            remedy=f"see {log}, and `servicelab doctor` for what this machine lacks",
        )


def stop_kind(kind: ProcessIdentity) -> None:
    """End a kind that was begun by `run_kind`, here or in a process that is gone.

    Args:
        kind: the process that its `on_start` was called with.
    """
    # kind itself ends at once. The `docker run`s that it began are left to end by themselves: the
    # engine would go on with what they asked for, and a container would appear after the cleaning.
    if kind.is_alive():
        os.kill(kind.pid, signal.SIGTERM)
    try:
        eventually(
            lambda: _alive_in_group(kind.pid),
            lambda pids: not pids,
            deadline=deadlines.current().kind_stopped,
            expecting="what kind began to end",
        )
    except NotProved:
        if kind.is_alive():
            os.killpg(kind.pid, signal.SIGKILL)


def _alive_in_group(group: int) -> list[int]:
    """Processes of a process group that still run; a zombie that nobody reaps does not."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        if process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        try:
            if os.getpgid(process.info["pid"]) == group:
                found.append(process.info["pid"])
        except ProcessLookupError:
            continue
    return found


def _last_words(log: Path) -> str:
    """kind's own error line, or the last thing it printed."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it printed nothing"])[-1].removeprefix("ERROR: ")
