"""A Docker Engine that answers, and how to talk to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from servicelab.errors import InfrastructureError

Kind = Literal["existing", "private"]

ANSWER_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker Engine.

    Attributes:
        kind: "existing" if it was there without us, "private" if it is servicelab's own.
        docker: the command-line client.
        host: the DOCKER_HOST to reach it by; None for the client's own default or context.
        env: the whole environment to run docker or kind with (PATH leads to `docker`).
    """

    kind: Kind
    docker_binary: Path
    host: str | None
    env: Mapping[str, str] = field(repr=False)

    def docker(
        self,
        *args: str,
        input: str | bytes | None = None,
        timeout: float = COMMAND_TIMEOUT_S,
    ) -> str:
        """Run a docker command and return what it prints.

        Args:
            args: the arguments after `docker`.
            input: what it reads on stdin; nothing by default.
            timeout: seconds after which it is given up.

        Raises:
            InfrastructureError: it failed; the message ends with its last lines.
        """
        done = self.try_docker(*args, input=input, timeout=timeout)
        if done.returncode:
            raise self.failed(args, done.returncode, done.stderr.decode(errors="replace"))
        return done.stdout.decode(errors="replace")

    def try_docker(
        self,
        *args: str,
        input: str | bytes | None = None,
        timeout: float = COMMAND_TIMEOUT_S,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a docker command whose failure is an answer too; see `docker`.

        Raises:
            InfrastructureError: it did not finish in time, or there is no docker client.
        """
        data = input.encode() if isinstance(input, str) else input
        # An empty input, not DEVNULL: `docker exec -i` and `docker import -` read to the end.
        try:
            return subprocess.run(
                [str(self.docker_binary), *args],
                input=data if data is not None else b"",
                capture_output=True,
                env=dict(self.env),
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self.unfinished(args, timeout) from None
        except OSError as error:
            raise self.unrunnable(error) from error

    def failed(self, args: Sequence[str], code: int, stderr: str) -> InfrastructureError:
        """The error that says that a docker command ended with another code than 0."""
        return InfrastructureError(
            f"`docker {' '.join(args)}` failed with exit code {code}: {last_lines(stderr)}",
            remedy="see `servicelab engine status`" if self.kind == "private" else "",
        )

    def unfinished(self, args: Sequence[str], timeout: float) -> InfrastructureError:
        """The error that says that a docker command took longer than it may."""
        return InfrastructureError(
            f"`docker {' '.join(args)}` did not finish within {timeout:.0f} s",
            remedy="check that the engine answers with: servicelab engine status",
        )

    def unrunnable(self, error: OSError) -> InfrastructureError:
        """The error that says that there is no docker client, or none that runs."""
        return InfrastructureError(
            f"the docker client {self.docker_binary} can't be run: {error.strerror}"
        )

    def answers(self) -> bool:
        """Whether the engine answers within 5 s."""
        return not refusal(self)


def refusal(engine: Engine) -> str:
    """Why the engine does not answer, in its client's words; "" if it does."""
    try:
        done = engine.try_docker(
            "version", "--format", "{{.Server.Version}}", timeout=ANSWER_TIMEOUT_S
        )
    except InfrastructureError as error:
        return error.problem
    if done.returncode == 0 and done.stdout.strip():
        return ""
    return last_lines(done.stderr.decode(errors="replace"), 1)


def existing_engine() -> Engine | None:
    """The Docker client on PATH with its configured engine, whether or not that answers."""
    binary = shutil.which("docker")
    if binary is None:
        return None
    return Engine("existing", Path(binary), os.environ.get("DOCKER_HOST"), dict(os.environ))


def last_lines(text: str, count: int = 3) -> str:
    """The last lines that say something, joined into one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-count:]) or "no message"
