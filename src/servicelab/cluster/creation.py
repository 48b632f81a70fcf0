"""Running `kind create cluster`: its steps as they end, stopped cleanly, explained on failure."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from servicelab.errors import InfrastructureError

#: kind's own words for the end of a step, e.g. " ✓ Starting control-plane 🕹️ "
_STEP = re.compile(r"[✓✗] (?P<step>[A-Za-z -]+?)\s*(?:[^\x00-\x7f].*)?$")
_TERMINATE_SECONDS = 5.0  # how long kind may take to stop once told


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
) -> None:
    """Run a kind command, calling back as each of its steps ends.

    The command runs in a process group of its own: Ctrl-C reaches us, and we decide.

    Args:
        argv: kind's path and arguments.
        env: its whole environment.
        log: file that gets all it prints.
        on_step: called with a step's name ("Preparing nodes", "Starting control-plane", …).

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
            for line in process.stdout:
                record.write(line)
                record.flush()
                if step := kind_step(line):
                    on_step(step)
            status = process.wait()
        except BaseException:
            _stop(process)
            raise
    if status != 0:
        raise InfrastructureError(
            f"`{Path(argv[0]).name} {' '.join(argv[1:3])}` ended with {status}: {_last_words(log)}",
            remedy=f"see {log}, and `servicelab doctor` for what this machine lacks",
        )


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_TERMINATE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_words(log: Path) -> str:
    """kind's own error line, or the last thing it printed."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it printed nothing"])[-1].removeprefix("ERROR: ")
