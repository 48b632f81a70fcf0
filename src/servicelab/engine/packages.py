"""The private engine's programs: Debian packages unpacked in the cache, nothing installed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from servicelab import debian
from servicelab.cache import cache_root
from servicelab.errors import InfrastructureError, UsageError
from servicelab.pins import pins
from servicelab.progress import Progress

# Docker from the newer suite starts without CAP_SYS_RESOURCE.
ENGINE_PACKAGES = ("docker.io", "docker-cli", "containerd", "tini")
# What runs on the host's own libc must not be newer than the oldest host; the older suite's
# builds run on every later one.
HOST_PACKAGES = (
    *("runc", "libseccomp2"),
    *("iptables", "libxtables12", "libip4tc2", "libip6tc2", "libmnl0", "libnftnl11"),
    *("libnfnetlink0", "libnetfilter-conntrack3"),
    *("iproute2", "libbpf1", "libelf1", "zlib1g", "libbsd0", "libmd0", "libcap2", "libtirpc3"),
    *("libsystemd0", "libgcrypt20", "libgpg-error0", "liblzma5", "libzstd1", "liblz4-1"),
)
# Raised when what is done after unpacking changes, so that old folders are not taken for new.
RECIPE = 1

# iptables keeps the path of an extension, some 55 bytes below this folder, in 256 (xtables.c).
PATH_LIMIT = 190

# Searched before our own libraries: the host's are never replaced, only completed.
_HOST_LIBRARIES = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")


@dataclass(frozen=True, slots=True)
class Programs:
    """The unpacked programs of the private engine.

    Attributes:
        root: the folder that stands for / in them.
    """

    root: Path

    def environment(self, backend: str = "nft") -> dict[str, str]:
        """The environment to run dockerd, ip and iptables in: these programs come first.

        Args:
            backend: "nft" or "legacy", which iptables to use.
        """
        triplet = _triplet(self.root)
        host = [f"{folder}/{triplet}" for folder in ("/lib", "/usr/lib")]
        ours = [str(self.root / folder / triplet) for folder in ("usr/lib", "lib")]
        path = [
            str(self.root / folder)
            for folder in (f"iptables-{backend}", "usr/sbin", "usr/bin", "sbin", "bin")
        ]
        inherited = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        return {
            **os.environ,
            "PATH": ":".join([*path, inherited, "/usr/sbin", "/sbin"]),
            "LD_LIBRARY_PATH": ":".join([*host, *_HOST_LIBRARIES, *ours]),
            "XTABLES_LIBDIR": str(self.root / "usr/lib" / triplet / "xtables"),
        }

    def run(
        self, *command: str, backend: str = "nft", timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the programs; its failure is an answer.

        Raises:
            InfrastructureError: it does not exist or did not finish in time.
        """
        environment = self.environment(backend)
        binary = shutil.which(command[0], path=environment["PATH"])
        if binary is None:
            raise InfrastructureError(
                f"{command[0]} is neither on this machine nor in {self.root}",
                remedy=f"delete {self.root.parent} and start again",
            )
        try:
            return subprocess.run(
                [binary, *command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=environment,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InfrastructureError(
                f"`{' '.join(command)}` did not finish within {timeout:.0f} s"
            ) from None


def programs_folder() -> Path:
    """The cache folder of the engine's programs for the packages named here.

    It can be copied to a machine without network: its `debs` are the packages, its `root` is
    what they unpack to.
    """
    return cache_root() / "engine" / recipe_key()


def recipe_key() -> str:
    """A short hash over everything that decides what is unpacked."""
    recipe = [
        str(RECIPE),
        platform.machine(),
        *(f"{suite}/{name}" for suite, names in _wanted().items() for name in names),
    ]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:12]


def find_programs() -> Programs | None:
    """The programs, if they were fetched before."""
    folder = programs_folder()
    return Programs(folder / "root") if (folder / "manifest.json").exists() else None


def ensure_programs(progress: Progress) -> Programs:
    """Fetch and unpack the programs unless that was done before.

    Raises:
        UsageError: the cache folder's path is too long.
        InfrastructureError: the packages can't be had.
    """
    folder = programs_folder()
    if len(bytes(folder)) > PATH_LIMIT:
        raise UsageError(
            f"the path of the cache folder {cache_root()} is too long for iptables",
            remedy="set SERVICELAB_CACHE to a folder with a shorter path",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        return find_programs() or _build_programs(folder, progress)


def _build_programs(folder: Path, progress: Progress) -> Programs:
    partial = folder.with_name(f"{folder.name}.partial")
    with progress.step("fetch Docker Engine from Debian packages"):
        debs = [
            deb
            for suite, names in _wanted().items()
            for deb in debian.fetch(suite, names, partial / "debs")
        ]
    with progress.step("unpack Docker Engine"):
        # A folder that an interrupted run left may hold half a file.
        shutil.rmtree(partial / "root", ignore_errors=True)
        debian.unpack(debs, partial / "root")
        _complete(partial / "root")
        manifest: Mapping[str, object] = {"recipe": RECIPE, "debs": [deb.name for deb in debs]}
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return Programs(folder / "root")


def _wanted() -> dict[str, tuple[str, ...]]:
    suites = pins().debian
    return {suites["engine_suite"]: ENGINE_PACKAGES, suites["node_suite"]: HOST_PACKAGES}


def _complete(root: Path) -> None:
    """Do what the packages' maintainer scripts would do, with links that stay in the folder."""
    for backend in ("nft", "legacy"):
        folder = root / f"iptables-{backend}"
        folder.mkdir(exist_ok=True)
        for tool in ("iptables", "ip6tables"):
            for suffix in ("", "-save", "-restore"):
                link = folder / f"{tool}{suffix}"
                link.unlink(missing_ok=True)
                link.symlink_to(f"../usr/sbin/xtables-{backend}-multi")
    init = root / "usr/bin/docker-init"
    init.unlink(missing_ok=True)
    init.symlink_to("tini-static")


def _triplet(root: Path) -> str:
    """The folder name of this architecture's libraries, such as x86_64-linux-gnu."""
    return next((path.name for path in (root / "usr/lib").glob("*-linux-gnu*")), "")
