"""Leases: who owns a cluster, alive or not."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from servicelab.cluster.lease import (
    Lease,
    all_leases,
    cluster_lock,
    forget,
    lease_path,
    machine_lock,
    part_lock,
    read_lease,
)
from servicelab.host import ProcessIdentity, process_identity


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path))
    return tmp_path


def lease(owner: ProcessIdentity | None, *, keep: bool = False) -> Lease:
    return Lease("lab", owner, "7f3a", keep=keep, made_by="run", node_image="node:1", created=1.0)


def dead_process() -> ProcessIdentity:
    """A process that ran and ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = process_identity(process.pid)
    process.communicate(b"\n")
    return identity


def test_a_lease_reads_back_as_it_was_written() -> None:
    """What is written is what is read."""
    mine = lease(process_identity())
    mine.write()

    assert read_lease("lab") == mine
    assert all_leases() == [mine]


def test_a_live_owner_keeps_its_cluster() -> None:
    """A lease of a running process is in use, not abandoned."""
    assert lease(process_identity()).in_use
    assert not lease(process_identity()).abandoned


def test_a_dead_owner_abandons_its_cluster_unless_it_is_kept() -> None:
    """When the owner ended, only `keep` saves the cluster."""
    owner = dead_process()

    assert lease(owner).abandoned
    assert not lease(owner, keep=True).abandoned


def test_a_later_process_with_the_same_pid_is_not_the_owner() -> None:
    """A pid alone does not make an owner: the start time and the boot must be the same too."""
    me = process_identity()

    assert lease(ProcessIdentity(me.pid, me.started - 100, me.boot_id)).abandoned
    assert lease(ProcessIdentity(me.pid, me.started, "another boot")).abandoned


def test_a_damaged_lease_still_names_its_cluster() -> None:
    """A file that can't be read counts as abandoned, so that reap finds the containers."""
    lease(process_identity()).write()
    lease_path("lab").write_text('{"cluster": "lab"')

    damaged = read_lease("lab")

    assert damaged is not None
    assert damaged.cluster == "lab"
    assert damaged.abandoned


def test_changes_are_written_at_once() -> None:
    """`with_` gives the changed lease and leaves the same on disk."""
    changed = lease(process_identity()).with_(mode="nftables")
    changed.write()

    assert read_lease("lab") == changed
    assert changed.mode == "nftables"


def test_a_forgotten_cluster_leaves_nothing() -> None:
    """After `forget` there is neither lease nor folder."""
    lease(None).write()
    forget("lab")

    assert read_lease("lab") is None
    assert not lease_path("lab").parent.exists()


def test_age_counts_from_creation() -> None:
    """Age is in seconds since the cluster was made."""
    young = Lease("lab", None, "", keep=True, made_by="up", node_image="", created=time.time() - 5)

    assert 4 < young.age < 60


@pytest.mark.parametrize("name", ["lab-pools", "parts/lab/pools", "parts"])
def test_a_cluster_may_be_called_as_a_part_of_another_is(cache: Path, name: str) -> None:
    """One that MetalLB is installed in must not keep the other from being made."""
    with cluster_lock(name), part_lock("lab", "pools"), part_lock("lab", "metallb"):
        held = {path.relative_to(cache) for path in cache.rglob("*.lock")}

    assert len(held) == 3


@pytest.mark.parametrize("name", ["reap", "machine/reap", "machine"])
def test_a_cluster_may_be_called_as_a_lock_of_the_machine_is(cache: Path, name: str) -> None:
    """Both are held at once by a process that makes a cluster."""
    with cluster_lock(name), machine_lock("reap"):
        held = {path.relative_to(cache) for path in cache.rglob("*.lock")}

    assert len(held) == 2
