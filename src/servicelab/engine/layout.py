"""Where the private engine keeps its files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from servicelab.cache import cache_root, state_root

# A unix socket's path fits in 107 bytes (sockaddr_un); the longest one that the engine makes
# below its run folder is exec/containerd/containerd.sock.ttrpc.
SOCKET_PATH_LIMIT = 107
LONGEST_SOCKET_NAME = "exec/containerd/containerd.sock.ttrpc"


@dataclass(frozen=True, slots=True)
class Layout:
    """The private engine's files and folders.

    Attributes:
        data: images and containers (dockerd's data root); outlives a stop.
        run: sockets, pid file and the containers' runtime state; gone after a stop.
        state: who started the engine and what it changed on the host.
        lock: held while the engine is started or stopped.
        log: what dockerd prints.
        bin: holds only the docker client, for PATH.
    """

    data: Path
    run: Path
    state: Path
    lock: Path
    log: Path
    bin: Path

    @property
    def socket(self) -> Path:
        return self.run / "docker.sock"

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pool(self) -> Path:
        """The addresses of the last start, kept so that networks keep theirs."""
        return self.data.parent / "pool"

    @property
    def users(self) -> Path:
        """One file for each process that uses the engine."""
        return self.lock.parent / "users"

    @property
    def exec_root(self) -> Path:
        return self.run / "exec"

    @property
    def pid_file(self) -> Path:
        return self.run / "docker.pid"


def run_folder(state: Path, fallback: Path = Path("/run")) -> Path:
    """The folder for sockets: below the state folder, or below /run if that path is too long."""
    inside = state / "run"
    if len(bytes(inside / LONGEST_SOCKET_NAME)) <= SOCKET_PATH_LIMIT:
        return inside
    return fallback / f"servicelab-{hashlib.sha256(bytes(state)).hexdigest()[:8]}"


def layout() -> Layout:
    """The private engine's layout for the cache folder in use."""
    state = state_root() / "engine"
    cache = cache_root() / "engine"
    return Layout(
        data=cache / "data",
        run=run_folder(state),
        state=state / "engine.json",
        lock=state / "lock",
        log=cache / "dockerd.log",
        bin=cache / "bin",
    )
