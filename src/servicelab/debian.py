"""Debian packages of any suite, fetched and unpacked without installing anything.

The mirror is the one this machine's own apt sources name; apt runs with a state folder of its
own, so neither the machine's package lists nor its packages change, and no root is needed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from servicelab.apt_sources import ELSEWHERE, machine_mirror
from servicelab.cache import cache_root
from servicelab.errors import InfrastructureError

KEYRING_FOLDER = Path("/usr/share/keyrings")
KEYRING_NAMES = ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")

# Debian publishes point releases every few weeks and security fixes daily: a day is fresh enough.
LISTS_STAY_FRESH_S = 24 * 3600.0
UPDATE_TIMEOUT_S = 300.0
DOWNLOAD_TIMEOUT_S = 1200.0
UNPACK_TIMEOUT_S = 300.0


def fetch(suite: str, packages: Sequence[str], into: Path) -> list[Path]:
    """Download packages of a Debian suite (without their dependencies).

    Args:
        suite: a code name, such as "bookworm".
        packages: names, or name=version.
        into: the folder for the .deb files; what is already there is not downloaded again.

    Returns:
        The files, in apt's order.

    Raises:
        InfrastructureError: no apt-get, no mirror in reach, a package that the suite lacks.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise InfrastructureError(f"{tool} is not on this machine", remedy=ELSEWHERE)
    into.mkdir(parents=True, exist_ok=True)
    state = cache_root() / "apt" / suite
    state.mkdir(parents=True, exist_ok=True)
    with FileLock(state / "lock"):
        configuration = _configure(state, suite)
        updated = _update(state, configuration, suite, max_age=LISTS_STAY_FRESH_S)
        try:
            return _download(configuration, suite, packages, into)
        except InfrastructureError:
            # The mirror may have replaced a version since the lists were read.
            if updated:
                raise
            _update(state, configuration, suite, max_age=0.0)
            return _download(configuration, suite, packages, into)


def unpack(debs: Sequence[Path], root: Path) -> None:
    """Unpack .deb files into a folder; no maintainer script runs.

    Raises:
        InfrastructureError: a file is broken or the disk is full.
    """
    root.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        done = _run(["dpkg-deb", "-x", str(deb), str(root)], UNPACK_TIMEOUT_S)
        if done.returncode:
            raise InfrastructureError(
                f"{deb.name} can't be unpacked into {root}: {_last_lines(done.stderr)}",
                remedy="check the free disk space; delete the file if it is damaged",
            )


def _configure(state: Path, suite: str) -> Path:
    keyring = next(
        (KEYRING_FOLDER / n for n in KEYRING_NAMES if (KEYRING_FOLDER / n).exists()), None
    )
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    sources = state / "sources.list"
    wanted = "\n".join(machine_mirror().lines(suite, keyring)) + "\n"
    if not sources.exists() or sources.read_text() != wanted:
        sources.write_text(wanted)
        (state / "updated").unlink(missing_ok=True)
    configuration = state / "apt.conf"
    # Given by -c, so read after the machine's own configuration: a proxy set there stays,
    # hooks that would touch the machine's own apt folders do not.
    configuration.write_text(
        f'Dir::Etc::SourceList "{sources}";\n'
        'Dir::Etc::SourceParts "/dev/null";\n'
        f'Dir::State "{state}";\n'
        f'Dir::State::status "{state / "status"}";\n'
        f'Dir::Cache "{state / "cache"}";\n'
        'APT::Sandbox::User "root";\n'
        'APT::Update::Error-Mode "any";\n'
        'Acquire::Languages "none";\n'
        'Acquire::http::Timeout "20";\n'
        'Acquire::https::Timeout "20";\n'
        "#clear APT::Update::Pre-Invoke;\n"
        "#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n"
        "#clear Acquire::IndexTargets::deb::DEP-11;\n"
    )
    return configuration


def _update(state: Path, configuration: Path, suite: str, *, max_age: float) -> bool:
    """Read the mirror's lists unless they are young enough; whether they were read."""
    stamp = state / "updated"
    if stamp.exists() and time.time() - stamp.stat().st_mtime < max_age:
        return False
    done = _run(["apt-get", "-c", str(configuration), "-q", "update"], UPDATE_TIMEOUT_S)
    if done.returncode == 0:
        stamp.touch()
        return True
    if stamp.exists():
        return True  # The old lists may still do: the download will tell.
    raise InfrastructureError(
        f"the Debian mirror of this machine gave no package lists for {suite}: "
        f"{_last_lines(done.stderr)}",
        remedy="check the network and the apt sources with: apt-get update",
    )


def _download(configuration: Path, suite: str, packages: Sequence[str], into: Path) -> list[Path]:
    command = ["apt-get", "-c", str(configuration), "-q", "download"]
    with tempfile.TemporaryDirectory(dir=into) as empty:
        # apt names only what is missing in its working folder, so ask where nothing is.
        listed = _run([*command, "--print-uris", *packages], UPDATE_TIMEOUT_S, cwd=Path(empty))
    done = listed
    if listed.returncode == 0:
        done = _run([*command, *packages], DOWNLOAD_TIMEOUT_S, cwd=into)
    if done.returncode:
        missing = re.findall(r"Unable to locate package (\S+)", done.stderr)
        if missing:
            raise InfrastructureError(
                f"Debian {suite} has no package {', '.join(missing)}",
                remedy="check the suite's name and the package's name",
            )
        raise InfrastructureError(
            f"packages of Debian {suite} could not be downloaded: {_last_lines(done.stderr)}",
            remedy="check the network and the free disk space, then run the same command again",
        )
    names = [line.split()[1] for line in listed.stdout.splitlines() if line.startswith("'")]
    return [into / name for name in names]


def _run(
    command: list[str], timeout: float, *, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InfrastructureError(
            f"{command[0]} did not finish within {timeout:.0f} s: {' '.join(command)}",
            remedy="check the network, then run the same command again",
        ) from None


def _last_lines(text: str, count: int = 3) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-count:]) or "no message"
