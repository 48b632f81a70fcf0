"""Builds steps in order, one build at a time, each result whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from servicelab.bundle.bench import Bench, disk_full
from servicelab.bundle.steps import KEY_LENGTH, Step, bundle_root, missing
from servicelab.errors import InfrastructureError
from servicelab.progress import Progress

PARTIAL = ".partial"
# Twice the 20 minutes that a build from nothing may take on two cores, and slower machines.
LOCK_TIMEOUT_S = 2 * 3600.0
# The current result of a step, and the one before: going back one commit costs no build.
KEPT_RESULTS = 2


def ensure_built(wanted: Sequence[Step], progress: Progress) -> None:
    """Build these steps and what they need, unless they are there.

    Raises:
        InfrastructureError: a step failed, the disk is too small, or this is not root.
    """
    if not missing(wanted):
        return
    with locked(progress):
        todo = missing(wanted)
        if not todo:
            return
        _check_machine(todo)
        sweep()
        progress.plan(step.name for step in todo)
        for step in todo:
            with progress.step(step.name):
                build(step)
        prune(wanted)


def build(step: Step) -> None:
    """Build one step whose needs are there; the lock must be held.

    Raises:
        InfrastructureError: it failed.
    """
    root = bundle_root()
    partial = root / f"{step.folder.name}{PARTIAL}"
    discard(partial)
    logs = root / "logs"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        bench = Bench(step, partial / "result", partial / "scratch", logs / f"{step.name}.log")
        bench.folder.mkdir(parents=True)
        bench.scratch.mkdir()
        bench.log.write_text(f"# {step.folder.name}\n")
        step.build(bench)
        _flush(bench.folder)
        bench.folder.rename(step.folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(partial) from error
        raise InfrastructureError(
            f"{step.name} could not be built: {error}", remedy=f"its log is {logs}/{step.name}.log"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            discard(partial)


@contextlib.contextmanager
def locked(progress: Progress) -> Iterator[None]:
    """Hold the lock of the cache's images; says so when another process has it.

    Raises:
        InfrastructureError: another process held it for hours.
    """
    root = bundle_root()
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say("another process is building the images; waiting for it")
        try:
            lock.acquire(timeout=LOCK_TIMEOUT_S)
        except Timeout:
            raise InfrastructureError(
                f"another process has been building the images for {LOCK_TIMEOUT_S / 3600:.0f} h",
                remedy=f"find it with: fuser -v {root / 'lock'}",
            ) from None
    try:
        yield
    finally:
        lock.release()


def sweep() -> None:
    """Remove what an interrupted build left; the lock must be held."""
    for partial in bundle_root().glob(f"*{PARTIAL}"):
        discard(partial)


def prune(current: Iterable[Step]) -> None:
    """Remove older results of the same steps, but for the newest; the lock must be held."""
    keep = {step.folder for step in _closure(current)}
    for name in {step.name for step in _closure(current)}:
        older = [folder for folder in results_of(name) if folder not in keep]
        older.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in older[KEPT_RESULTS - 1 :]:
            discard(folder)


def results_of(name: str) -> list[Path]:
    """The finished results of a step, whatever their key."""
    pattern = f"{name}-{'[0-9a-f]' * KEY_LENGTH}"
    return [folder for folder in bundle_root().glob(pattern) if folder.is_dir()]


def discard(folder: Path) -> None:
    """Remove a folder, unless something is still mounted in it.

    Raises:
        InfrastructureError: something is mounted below it.
    """
    if not folder.exists():
        return
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    inside = [line.split()[4] for line in mounts if line.split()[4].startswith(f"{folder}/")]
    if inside:
        # Deleting through a mount would delete what is mounted.
        raise InfrastructureError(
            f"{folder} can't be removed, {inside[0]} is mounted in it",
            remedy=f"unmount it with: umount {inside[0]}",
        )
    shutil.rmtree(folder)


def _closure(steps: Iterable[Step]) -> set[Step]:
    found: set[Step] = set()
    for step in steps:
        found |= {step} | _closure(step.needs)
    return found


def _check_machine(todo: Sequence[Step]) -> None:
    if os.geteuid() != 0 and any(step.root for step in todo):
        raise InfrastructureError(
            "images can be built by root only (their root file systems have root's files)",
            remedy="run `servicelab images build` once as root, or `servicelab images load` a "
            "saved bundle",
        )
    needed = sum(step.disk for step in todo)
    root = bundle_root()
    free = shutil.disk_usage(root).free >> 20
    if free < needed:
        raise InfrastructureError(
            f"building {len(todo)} images and programs takes about {needed / 1024:.1f} GiB, and "
            f"the disk that holds {root} has {free / 1024:.1f} GiB left",
            remedy="free some space, or set SERVICELAB_CACHE to a folder on another disk",
        )


def _flush(folder: Path) -> None:
    """Bring the files to the disk, so that a power cut after the rename finds them whole."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())
