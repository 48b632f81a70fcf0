"""Who owns a cluster: written before the first container, removed after the last one."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock

from servicelab.cache import state_root
from servicelab.host import ProcessIdentity


@dataclass(frozen=True, slots=True)
class Lease:
    """What is known of a cluster beside what Docker knows.

    Attributes:
        cluster: the kind cluster's name.
        owner: the process that uses it now; None for a kept cluster that nobody uses.
        run_id: the run that made it.
        keep: it outlives its owner (`--keep-cluster`, `servicelab up`).
        made_by: "up" (only `servicelab down` deletes it) or "run".
        node_image: the image its nodes were made from.
        mode: kube-proxy's mode, as last proved; "" before the cluster was ready.
        kubernetes: its version, for example v1.37.0; "" before the cluster was ready.
        created: seconds since the epoch.
        kind: the kind process that makes its nodes; None before and after.
        docker_host: DOCKER_HOST of the engine that runs it; None for Docker's default.
    """

    cluster: str
    owner: ProcessIdentity | None
    run_id: str
    keep: bool
    made_by: str
    node_image: str
    mode: str = ""
    kubernetes: str = ""
    created: float = 0.0
    kind: ProcessIdentity | None = None
    docker_host: str | None = None

    def write(self) -> None:
        """Write the lease in one step, so that a reader never sees half of it."""
        path = lease_path(self.cluster)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.rename(path)

    def with_(self, **changes: Any) -> Lease:
        """A copy with changes, written."""
        changed = replace(self, **changes)
        changed.write()
        return changed

    @property
    def abandoned(self) -> bool:
        """The owner is gone and nobody asked to keep the cluster."""
        return not self.keep and not self.in_use

    @property
    def in_use(self) -> bool:
        """A live process owns the cluster."""
        return self.owner is not None and self.owner.is_alive()

    @property
    def age(self) -> float:
        """Seconds since the cluster was made."""
        return time.time() - self.created


def clusters_root() -> Path:
    """The folder with one folder a cluster: lease, kubeconfig, kind's configuration and log."""
    return state_root() / "clusters"


def cluster_folder(name: str) -> Path:
    """The folder of one cluster."""
    return clusters_root() / name


def lease_path(name: str) -> Path:
    """The file that holds a cluster's lease."""
    return cluster_folder(name) / "lease.json"


def read_lease(name: str) -> Lease | None:
    """The lease of a cluster, or None if servicelab made none of that name.

    A file that can't be read counts as a lease whose owner is gone: it is only ever written in one
    step, so it was damaged later, and what it names must still be found and removed.
    """
    path = lease_path(name)
    try:
        data = json.loads(path.read_text())
        owner, kind = data.pop("owner"), data.pop("kind")
        return Lease(
            owner=ProcessIdentity(**owner) if owner else None,
            kind=ProcessIdentity(**kind) if kind else None,
            **data,
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        return Lease(name, None, "", keep=False, made_by="run", node_image="")


@contextlib.contextmanager
def cluster_lock(name: str) -> Iterator[None]:
    """Hold one cluster's life: no two processes create, switch or delete it at once.

    May be entered again by the process that holds it.
    """
    # A context's name may hold slashes.
    path = state_root() / "locks" / f"{quote(name, safe='')}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, is_singleton=True):
        yield


def part_lock(name: str, part: str, *, is_singleton: bool = False) -> FileLock:
    """The lock of a part of one cluster, in a folder that no cluster's own lock is in.

    Args:
        name: the cluster's.
        part: what is held, such as "pools"; a file's name.
        is_singleton: may it be entered again by the thread that holds it?
    """
    path = state_root() / "locks" / "parts" / quote(name, safe="") / f"{part}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, is_singleton=is_singleton)


@contextlib.contextmanager
def machine_lock(name: str) -> Iterator[None]:
    """Hold what all clusters of this machine share, in a folder that no cluster's lock is in."""
    path = state_root() / "locks" / "machine" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def all_leases() -> list[Lease]:
    """Every lease on this machine, by cluster name."""
    root = clusters_root()
    names = sorted(path.parent.name for path in root.glob("*/lease.json"))
    return [lease for name in names if (lease := read_lease(name))]


def forget(name: str) -> None:
    """Remove a cluster's folder: its lease, kubeconfig and files."""
    shutil.rmtree(cluster_folder(name), ignore_errors=True)
