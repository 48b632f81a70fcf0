"""Where a step works: its folders, its log, and the commands it runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from servicelab.bundle.steps import Step
from servicelab.errors import InfrastructureError

DISK_FULL = "No space left on device"
OFFLINE = (
    "dial tcp",
    "Temporary failure",
    "Could not resolve",
    "i/o timeout",
    "NewConnectionError",
)


@dataclass(frozen=True, slots=True)
class Bench:
    """A step's place of work.

    Attributes:
        step: the step.
        folder: what stands here at the end is the result.
        scratch: thrown away at the end.
        log: gets what the commands print.
    """

    step: Step
    folder: Path
    scratch: Path
    log: Path

    def result(self, name: str) -> Path:
        """The result of a step that this one needs.

        Raises:
            KeyError: it does not need a step of that name.
        """
        return {need.name: need.folder for need in self.step.needs}[name]

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command; what it prints goes to the log.

        Raises:
            InfrastructureError: it failed; the message has its last lines.
        """
        with self.log.open("ab") as log:
            self._finish([str(part) for part in command], cwd, env, log)

    def output(
        self, *command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Run a command and return what it prints on stdout, without the white space around it.

        Raises:
            InfrastructureError: it failed.
        """
        with self.log.open("ab") as log:
            printed = self._finish([str(part) for part in command], cwd, env, log, keep=True)
            log.write(printed)
        return printed.decode(errors="replace").strip()

    def _finish(
        self,
        argv: list[str],
        cwd: Path | None,
        env: Mapping[str, str] | None,
        log: BinaryIO,
        *,
        keep: bool = False,
    ) -> bytes:
        log.write(f"\n$ {' '.join(argv)}\n".encode())
        log.flush()
        start = log.tell()
        output = subprocess.PIPE if keep else log.fileno()
        process = self.start(*argv, cwd=cwd, env=env, output=output, errors=log.fileno())
        try:
            printed, _ = process.communicate()
        finally:
            end(process)
        if process.returncode:
            raise self._failure(argv, process.returncode, self._printed(start))
        return printed or b""

    def start(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        output: int,
        errors: int = subprocess.STDOUT,
    ) -> subprocess.Popen[bytes]:
        """Start a command that ends when this process dies, however it does.

        Raises:
            InfrastructureError: there is no such program.
        """
        argv = [str(part) for part in command]
        environment = dict(os.environ if env is None else env)
        leash = shutil.which("setpriv", path=environment.get("PATH"))
        try:
            return subprocess.Popen(
                [*([leash, "--pdeathsig", "KILL"] if leash else []), *argv],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                # A group of its own: Ctrl-C reaches us alone, and we end all of it.
                start_new_session=True,
            )
        except OSError as error:
            raise InfrastructureError(
                f"{argv[0]}, which {self.step} needs, can't be run: {error.strerror}"
            ) from error

    def _printed(self, start: int) -> str:
        with self.log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    def _failure(self, argv: list[str], code: int, printed: str) -> InfrastructureError:
        if DISK_FULL in printed:
            return disk_full(self.folder)
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        said = " / ".join(lines[-3:]) or "it printed nothing"
        hint = "check the network, then " if any(sign in printed for sign in OFFLINE) else ""
        return InfrastructureError(
            f"{self.step} could not be built: `{_shortened(argv)}` ended with exit code {code}: "
            f"{said[-600:]}",
            remedy=f"{hint}run the same command again, what is done is kept; "
            f"the whole log is {self.log}",
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a started command and what it started; nothing if it has ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def disk_full(folder: Path) -> InfrastructureError:
    """The error of a disk that filled up during a step."""
    return InfrastructureError(
        f"the disk that holds {folder.parent} is full",
        remedy="free some space, or set SERVICELAB_CACHE to a folder on another disk, and run the "
        "same command again",
    )


def _shortened(argv: list[str]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 200 else f"{text[:120]} … {text[-60:]}"
