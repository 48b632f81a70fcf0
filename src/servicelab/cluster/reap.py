"""Removing what dead owners left: containers, volumes, kubeconfigs, leases."""

from __future__ import annotations

from dataclasses import dataclass

from servicelab.cluster.containers import remove_containers
from servicelab.cluster.creation import stop_kind
from servicelab.cluster.lease import Lease, all_leases, forget
from servicelab.engine import Engine


@dataclass(frozen=True, slots=True)
class Reaped:
    """What was removed of one cluster.

    Attributes:
        cluster: its name.
        containers: names of the containers that were removed.
        why: the reason, one clause.
    """

    cluster: str
    containers: tuple[str, ...]
    why: str


def abandoned() -> list[Lease]:
    """Leases whose owner is gone and that nobody asked to keep."""
    return [lease for lease in all_leases() if lease.abandoned]


def reap(engine: Engine | None) -> list[Reaped]:
    """Remove every abandoned cluster.

    Args:
        engine: the engine that answers now; with None (it is gone, and its containers with it)
            only the leases are removed.
    """
    removed = []
    for lease in abandoned():
        if lease.kind:
            stop_kind(lease.kind)
        containers = remove_containers(engine, lease.cluster) if engine else ()
        forget(lease.cluster)
        pid = lease.owner.pid if lease.owner else "unknown"
        why = f"its owner, process {pid}, is gone"
        removed.append(Reaped(lease.cluster, tuple(containers), why))
    return removed
