"""What the machine offers: Python, control groups, capabilities, limits, memory, disk."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

import psutil

from servicelab.cache import cache_root
from servicelab.doctor.finding import Finding, Level

OLDEST_PYTHON = (3, 11)
GIB = 1024**3
# A lab run with its cluster of three nodes takes up to 4 GiB.
MEMORY_ENOUGH_GIB = 4.0
MEMORY_TOO_LITTLE_GIB = 2.0
# Compilers, their caches, a node image and three nodes; a bundle loaded from a file needs less.
DISK_ENOUGH_GIB = 15.0
DISK_TOO_LITTLE_GIB = 4.0
# Each node's systemd, kubelet and containerd take some twenty of them.
INOTIFY_INSTANCES = 256
INOTIFY_WATCHES = 65536

# Bits of the capability masks in /proc/PID/status (linux/capability.h).
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24}


def python_finding(version: tuple[int, int, int] = sys.version_info[:3]) -> Finding:
    """Whether this Python is new enough."""
    seen = f"{platform.python_implementation()} {'.'.join(map(str, version))}"
    if version[:2] < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return Finding("Python", "error", seen, f"use Python {wanted} or newer")
    return Finding("Python", "ok", seen)


def cgroup_finding(root: Path = Path("/sys/fs/cgroup")) -> Finding:
    """Which version of control groups is mounted."""
    if (root / "cgroup.controllers").exists():
        return Finding("control groups", "ok", "cgroup v2")
    if (root / "memory").is_dir():
        return Finding(
            "control groups",
            "note",
            "cgroup v1, which Kubernetes is retiring: the bundle's node image works on it, newer "
            "official ones may not",
            "boot with systemd.unified_cgroup_hierarchy=1 to get cgroup v2",
        )
    return Finding(
        "control groups",
        "error",
        f"no control groups with a memory controller in {root}",
        "mount cgroup v2 there; a container needs --privileged --cgroupns=private for that",
    )


def capabilities_finding(status: str, *, root: bool) -> Finding:
    """Whether this process could start the private engine.

    Args:
        status: the text of /proc/self/status.
        root: whether it runs as root; others use an existing Docker, which has its own.
    """
    masks = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    mask = int(masks[0], 16) if masks else 0
    missing = [name for name, bit in CAPABILITIES.items() if not mask >> bit & 1]
    if not root:
        return Finding("capabilities", "ok", "not root, so an existing Docker is used")
    needed = [name for name in missing if name != "CAP_SYS_RESOURCE"]
    if needed:
        return Finding(
            "capabilities",
            "warn",
            f"root without {', '.join(needed)}: the private engine can't start",
            "run on the host itself, or in a container with --privileged",
        )
    if missing:
        seen = "no CAP_SYS_RESOURCE: limits can't be raised, and the private engine needs none"
        return Finding("capabilities", "note", seen)
    return Finding("capabilities", "ok", ", ".join(CAPABILITIES))


def inotify_finding(instances: int, watches: int) -> Finding:
    """Whether three nodes have enough inotify instances and watches."""
    low = [
        f"{name}={wanted}"
        for name, value, wanted in (
            ("fs.inotify.max_user_instances", instances, 512),
            ("fs.inotify.max_user_watches", watches, 524288),
        )
        if value < {512: INOTIFY_INSTANCES, 524288: INOTIFY_WATCHES}[wanted]
    ]
    seen = f"{instances} instances, {watches} watches"
    if low:
        return Finding(
            "inotify",
            "warn",
            f"{seen}: a cluster of three nodes or a second cluster may run out of them",
            f"as root: sysctl -w {' '.join(low)}",
        )
    return Finding("inotify", "ok", seen)


def memory_finding(available: int) -> Finding:
    """Whether a cluster fits into what is free, in bytes."""
    gib = available / GIB
    level, remedy = _enough(gib, MEMORY_ENOUGH_GIB, MEMORY_TOO_LITTLE_GIB)
    return Finding("memory", level, f"{gib:.1f} GiB available", remedy and f"free some: {remedy}")


def disk_finding(free: int, folder: Path) -> Finding:
    """Whether images and nodes fit into what is free below the cache folder, in bytes."""
    gib = free / GIB
    level, remedy = _enough(gib, DISK_ENOUGH_GIB, DISK_TOO_LITTLE_GIB)
    return Finding(
        "disk",
        level,
        f"{gib:.1f} GiB free for {folder}",
        remedy and f"free some, or set SERVICELAB_CACHE to a folder with room: {remedy}",
    )


def machine_findings() -> list[Finding]:
    """All of them, for this machine."""
    limits = Path("/proc/sys/fs/inotify")
    folder = cache_root()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return [
        python_finding(),
        cgroup_finding(),
        capabilities_finding(Path("/proc/self/status").read_text(), root=os.geteuid() == 0),
        inotify_finding(
            int((limits / "max_user_instances").read_text()),
            int((limits / "max_user_watches").read_text()),
        ),
        memory_finding(psutil.virtual_memory().available),
        disk_finding(shutil.disk_usage(existing).free, folder),
    ]


def _enough(gib: float, enough: float, too_little: float) -> tuple[Level, str]:
    if gib >= enough:
        return "ok", ""
    level: Level = "warn" if gib >= too_little else "error"
    return level, f"{enough:.0f} GiB are comfortable, {too_little:.0f} GiB the least"
