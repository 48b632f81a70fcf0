"""Whether the registries of the official images are in reach; asked before anything is pulled."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from servicelab.engine.engine import Engine
from servicelab.errors import InfrastructureError
from servicelab.pins import pins

# Each of the two questions, the name and the connection, may take this long, in seconds.
QUESTION_TIMEOUT_S = 1.0
HTTPS = 443
# Our own images carry this name; no registry serves it.
OWN_REGISTRY = "servicelab.local"


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether every registry is in reach, and why (not); true if they are."""

    in_reach: bool
    why: str

    def __bool__(self) -> bool:
        return self.in_reach

    def __str__(self) -> str:
        return self.why


def registry_in_reach(engine: Engine | None = None) -> Reach:
    """Ask once whether images can be pulled: does each name resolve, does one port open.

    Nothing is sent over a connection. Where HTTPS_PROXY is set, the proxy stands for all of them.

    Args:
        engine: says which registry it takes for names without one; left out, only the
            registries that the pinned images name are asked for.
    """
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if proxy:
        address = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        return _ask(address.hostname or "", address.port or HTTPS)
    hosts = registry_hosts(pins().images.values())
    if engine is not None and (default := _default_registry(engine)):
        hosts.append(default)
    for host in hosts:
        reach = _ask(host, HTTPS)
        if not reach:
            return reach
    return Reach(True, f"{' and '.join(hosts)} in reach")


def registry_hosts(images: Iterable[str]) -> list[str]:
    """The registries that image names begin with, each once; ours is none."""
    first = (image.partition("/")[0] for image in images if "/" in image)
    return sorted({host for host in first if "." in host and host != OWN_REGISTRY})


def _default_registry(engine: Engine) -> str:
    try:
        answer = engine.docker("info", "--format", "{{.IndexServerAddress}}").strip()
    except InfrastructureError:
        return ""
    return urlsplit(answer).hostname or ""


def _ask(host: str, port: int) -> Reach:
    getent = shutil.which("getent")
    if getent is None:
        # Python's own resolver can't be given a deadline.
        return Reach(False, f"no getent on this machine to look up {host} with")
    try:
        done = subprocess.run(
            [getent, "ahosts", host],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=QUESTION_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Reach(False, f"{host} was not looked up within {QUESTION_TIMEOUT_S:.0f} s")
    addresses = [line.split()[0] for line in done.stdout.splitlines() if line.split()]
    if done.returncode or not addresses:
        return Reach(False, f"{host} can't be resolved")
    try:
        with socket.create_connection((addresses[0], port), timeout=QUESTION_TIMEOUT_S):
            return Reach(True, f"{host} in reach")
    except OSError as error:
        return Reach(False, f"{host} can't be connected to: {error.strerror or error}")
