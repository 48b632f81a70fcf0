"""crane, go-containerregistry's command: images from a file into a registry.

It takes logins from where Docker keeps them ($DOCKER_CONFIG or ~/.docker/config.json).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from servicelab.errors import InfrastructureError
from servicelab.registry.refusal import is_absent, refusal

#: A question takes milliseconds; crane tries an address for 5 s and three times.
QUESTION_TIMEOUT_S = 60.0
#: 100 MB over a slow line.
PUSH_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Crane:
    """The crane binary, for one registry.

    Attributes:
        binary: where it is.
        registry: HOST[:PORT][/PROJECT], for messages.
        insecure: whether plain HTTP and untrusted certificates will do.
        env: the environment that it runs in.
    """

    binary: Path
    registry: str
    insecure: bool = False
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    def digest(self, image: str) -> str:
        """The digest of an image in the registry; "" if it has none of that name.

        Raises:
            UsageError: the registry refuses, or does not answer.
        """
        done = self._run("digest", image, timeout=QUESTION_TIMEOUT_S)
        if done.returncode == 0:
            return done.stdout.strip()
        if is_absent(done.stderr):
            return ""
        raise refusal(done.stderr, self.registry, image)

    def digest_of(self, archive: Path) -> str:
        """The digest that a docker-archive's image will have in a registry.

        Raises:
            InfrastructureError: the file is no docker-archive of one image.
        """
        done = self._run("digest", "--tarball", str(archive), timeout=QUESTION_TIMEOUT_S)
        if done.returncode:
            raise InfrastructureError(
                f"{archive} is no archive of one image: {done.stderr.strip()}",
                remedy="delete its folder and run the same command again",
            )
        return done.stdout.strip()

    def push(self, archive: Path, image: str) -> str:
        """Push a docker-archive's image; returns its digest.

        Raises:
            UsageError: the registry refuses, or does not answer.
        """
        done = self._run("push", str(archive), image, timeout=PUSH_TIMEOUT_S)
        if done.returncode:
            raise refusal(done.stderr, self.registry, image)
        return done.stdout.strip().rpartition("@")[2]

    def _run(self, *args: str, timeout: float) -> subprocess.CompletedProcess[str]:
        insecure = ["--insecure"] if self.insecure else []
        try:
            return subprocess.run(
                [str(self.binary), *insecure, *args],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                env=dict(self.env),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InfrastructureError(
                f"crane {args[0]} did not finish within {timeout:.0f} s",
                remedy=f"check that {self.registry} answers",
            ) from None
        except OSError as error:
            raise InfrastructureError(
                f"crane can't be run: {self.binary}: {error.strerror}"
            ) from error
