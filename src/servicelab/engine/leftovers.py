"""What a stopped or killed private engine leaves behind, and how it is swept."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import psutil

from servicelab.engine.layout import Layout
from servicelab.engine.packages import Programs
from servicelab.errors import InfrastructureError
from servicelab.host import ProcessIdentity, process_identity
from servicelab.verdict import deadlines
from servicelab.verdict.message import NotProved
from servicelab.verdict.waiting import eventually

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
CGROUPS = Path("/sys/fs/cgroup")
MOUNTS = Path("/proc/self/mountinfo")


def processes_below(folder: Path) -> list[ProcessIdentity]:
    """Processes whose command line names that folder: a dead engine's containerd and shims."""
    found: list[ProcessIdentity] = []
    wanted = f"{folder}/"
    for process in psutil.process_iter(["cmdline"]):
        words: Sequence[str] = process.info["cmdline"] or ()
        if process.pid != os.getpid() and any(wanted in f"{word}/" for word in words):
            try:
                found.append(process_identity(process.pid))
            except psutil.NoSuchProcess:
                continue
    return found


def container_processes(containers: Path, proc: Path = Path("/proc")) -> list[ProcessIdentity]:
    """Processes in a cgroup of one of the engine's containers: they outlive a killed shim.

    Args:
        containers: the engine's folder with one folder for each container, named by its id.
        proc: where the kernel lists processes.
    """
    ids = container_ids(containers)
    found: list[ProcessIdentity] = []
    for path in proc.glob("[0-9]*/cgroup"):
        try:
            if ids.intersection(_CONTAINER_ID.findall(path.read_text())):
                found.append(process_identity(int(path.parent.name)))
        except (OSError, psutil.NoSuchProcess):
            continue  # It ended while we looked.
    return found


def other_dockerd(own: ProcessIdentity | None = None) -> int | None:
    """The process id of a Docker daemon in this network namespace that is not `own`.

    Two of them can't live side by side: each empties the iptables chains that they share.
    """
    here = _network_namespace("self")
    for process in psutil.process_iter(["name", "status"]):
        if process.info["name"] != "dockerd" or process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        if own is not None and process.pid == own.pid:
            continue
        if _network_namespace(str(process.pid)) == here:
            return int(process.pid)
    return None


def _network_namespace(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115 - its target is no path
    except OSError:
        return ""  # It ended, or it is another user's.


def container_ids(containers: Path) -> set[str]:
    """Ids of the engine's containers, by the folders that it keeps of them."""
    return {path.name for path in containers.iterdir()} if containers.is_dir() else set()


def end(owners: Iterable[ProcessIdentity], number: signal.Signals) -> bool:
    """Send a signal to processes and wait until they are gone; whether they are in time."""
    waited_for = [identity for identity in owners if identity.is_alive()]
    for identity in waited_for:
        try:
            os.kill(identity.pid, number)
        except ProcessLookupError:
            continue
    try:
        eventually(
            lambda: [identity.pid for identity in waited_for if identity.is_alive()],
            lambda alive: not alive,
            deadline=deadlines.current().engine_stopped,
            expecting="the private engine's processes should be gone",
            every=0.05,
        )
    except NotProved:
        return False
    return True


def mounts_below(folders: Sequence[Path], mountinfo: Path = MOUNTS) -> list[Path]:
    """Mount points inside these folders, the innermost and latest first."""
    found: list[Path] = []
    for line in mountinfo.read_text().splitlines():
        # The kernel writes blanks and backslashes in a path as octal numbers.
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if any(point.is_relative_to(folder) for folder in folders):
            found.append(point)
    return list(reversed(found))


def unmount_below(programs: Programs, folders: Sequence[Path]) -> None:
    """Unmount everything inside these folders.

    Raises:
        InfrastructureError: something there can't be unmounted.
    """
    for point in mounts_below(folders):
        # Lazily if it must be: a leftover overlay is of no use, and keeps nothing else alive.
        if programs.run("umount", str(point)).returncode:
            programs.run("umount", "--lazy", str(point))
    if left := mounts_below(folders):
        raise InfrastructureError(
            f"{left[0]} is still mounted and can't be unmounted",
            remedy=f"find who uses it with: fuser -vm {left[0]}",
        )


def bridges_in(programs: Programs, pool: IPv4Network) -> list[str]:
    """Docker's bridges whose address is in the engine's pool."""
    listed = programs.run("ip", "-4", "-json", "address", "show", "type", "bridge")
    return parse_bridges(listed.stdout, pool)


def parse_bridges(text: str, pool: IPv4Network) -> list[str]:
    """Names of Docker's bridges (br- and 12 hex digits) in the output of `ip -json address`."""
    return [
        link["ifname"]
        for link in json.loads(text or "[]")
        # ip prints an empty object for each link that its filters leave out.
        if link.get("ifname", "").startswith("br-")
        and len(link["ifname"]) == 15
        and any(
            IPv4Address(address["local"]) in pool
            for address in link.get("addr_info", [])
            if address.get("family") == "inet"
        )
    ]


def delete_links(programs: Programs, names: Iterable[str]) -> None:
    """Delete network interfaces; one that is already gone is fine."""
    for name in names:
        programs.run("ip", "link", "delete", name)


def shim_sockets(exec_root: Path) -> list[Path]:
    """Sockets of killed shims: containerd keeps them in one folder for all that run on a host."""
    tasks = exec_root / "containerd/daemon/io.containerd.runtime.v2.task"
    addresses = (path.read_text().strip() for path in tasks.glob("*/*/address"))
    return [
        Path(address.removeprefix("unix://"))
        for address in addresses
        if address.startswith("unix:///")
    ]


def remove_cgroups(ids: Iterable[str], cgroups: Path = CGROUPS) -> None:
    """Remove the empty control groups of killed containers, which nobody else cleans up.

    Under cgroup v1 each controller has a tree of its own, under v2 there is one.
    """
    wanted = frozenset(ids)
    for parent in [*cgroups.glob("*/docker"), *cgroups.glob("docker")]:
        for name in wanted:
            for folder, _, _ in os.walk(parent / name, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)  # noqa: PTH106 - os.walk gives names
        # Another Docker's containers keep it.
        with contextlib.suppress(OSError):
            parent.rmdir()


def clear_run_folder(layout: Layout) -> None:
    """Delete sockets, pid file and runtime state of an engine that no longer runs."""
    if layout.run.exists():
        shutil.rmtree(layout.run)
