"""Removing what dead owners left: containers, volumes, kubeconfigs, leases.

A kept cluster stays; what a killed run left changed in it is put back.
"""

from __future__ import annotations

from dataclasses import dataclass

from servicelab.cluster.api_server import Restart, is_changed, restore_flags
from servicelab.cluster.containers import node_states, remove_containers
from servicelab.cluster.creation import stop_kind
from servicelab.cluster.kind_cluster import Cluster
from servicelab.cluster.lease import (
    Lease,
    all_leases,
    cluster_lock,
    forget,
    machine_lock,
    read_lease,
)
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
    # Two who find the same leftovers would fail each other's removals.
    with machine_lock("reap"):
        return [_removed(lease, engine) for lease in abandoned()]


def _removed(lease: Lease, engine: Engine | None) -> Reaped:
    if lease.kind:
        stop_kind(lease.kind)
    containers = remove_containers(engine, lease.cluster) if engine else ()
    forget(lease.cluster)
    pid = lease.owner.pid if lease.owner else "unknown"
    why = f"its owner, process {pid}, is gone"
    return Reaped(lease.cluster, tuple(containers), why)


def restore_kept() -> dict[str, Restart]:
    """Put back what a killed run left changed in kept clusters that nobody uses; by cluster.

    Raises:
        InfrastructureError: the API server of one of them does not come back.
    """
    restored = {}
    for lease in all_leases():
        if not is_changed(lease.cluster):
            continue
        with cluster_lock(lease.cluster):
            now = read_lease(lease.cluster)
            if now is None or now.in_use or not now.keep:
                continue
            cluster = Cluster(lease.cluster)
            states = node_states(cluster.engine, lease.cluster).values()
            whole = states and all(state == "running" for state in states)
            if whole and (took := restore_flags(cluster)):
                restored[lease.cluster] = took
    return restored
