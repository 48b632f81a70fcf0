"""What the guest's first process is told: the command, its surroundings, its folders."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from servicelab.cache import cache_root, state_root
from servicelab.engine.layout import layout
from servicelab.errors import UsageError
from servicelab.report.run_folder import RUNS

#: Set in a guest, so that nobody starts one in it.
IN_GUEST = "SERVICELAB_IN_GUEST"
#: What leads to an engine of the host, which the guest can't reach.
FOREIGN = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


@dataclass(frozen=True, slots=True)
class Orders:
    """What the guest's first process is told.

    Attributes:
        command: the command and its arguments.
        env: its environment.
        cwd: its current folder.
        hostname: the guest's name.
        writable: folders whose content is the host's own; all else that is written is thrown away.
        hidden: folders that are empty in the guest: who runs on the host is nobody's business.
        data: where the image with the engine's data is mounted.
        modules: a folder of the host, copied to /lib/modules/RELEASE.
        reports: the command's third descriptor leads to the host.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    hostname: str
    writable: tuple[str, ...]
    hidden: tuple[str, ...]
    data: str
    modules: str
    reports: bool = False

    def to_json(self) -> str:
        """As `init` reads it."""
        return json.dumps(asdict(self))


def orders_for(
    command: Sequence[str],
    *,
    modules: Path,
    writable: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    reports: bool = False,
) -> Orders:
    """Orders to run a command as it would run here.

    Args:
        command: the command; a program that only this Python's environment has is found there.
        modules: the list of what the guest's kernel has built in.
        writable: folders to share, besides the one where runs leave their results.
        env: the environment; this process's by default.
        cwd: the current folder; this process's by default.
        reports: the command's third descriptor leads to the host.

    Raises:
        UsageError: there is no command, or a folder can't be shared.
    """
    if not command:
        raise UsageError("there is no command to run", remedy="write it after --")
    here = cwd or Path.cwd()
    surroundings = {
        name: value for name, value in (env or os.environ).items() if name not in FOREIGN
    }
    shared = [here / RUNS.parent, *(here / folder for folder in writable)]
    return Orders(
        command=(_program(command[0], surroundings), *command[1:]),
        env={**surroundings, IN_GUEST: "1"},
        cwd=str(here),
        hostname=socket.gethostname(),
        writable=outermost(shared),
        hidden=(str(state_root()),),
        data=str(layout().data),
        modules=str(modules),
        reports=reports,
    )


def outermost(folders: Sequence[Path]) -> tuple[str, ...]:
    """Folders without those that lie in another of them.

    Raises:
        UsageError: the guest can't work if one of them is shared.
    """
    found: list[Path] = []
    for folder in sorted(folder.absolute() for folder in folders):
        if cache_root().is_relative_to(folder) or folder == Path("/"):
            raise UsageError(
                f"{folder} can't be shared with a guest: servicelab's cache lies in it",
                remedy="name a folder of its own with --rw",
            )
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", remedy="name a folder with --rw")
        if not any(folder.is_relative_to(other) for other in found):
            found.append(folder)
    return tuple(str(folder) for folder in found)


def _program(name: str, env: Mapping[str, str]) -> str:
    if "/" in name or shutil.which(name, path=env.get("PATH")):
        return name
    # `.venv/bin/servicelab vm run -- pytest`, where the environment is not activated.
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name
