"""Reaping: what goes, what stays."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from servicelab.cluster.api_server import Restart
from servicelab.cluster.kind_cluster import Cluster
from servicelab.cluster.lease import Lease, all_leases, cluster_lock
from servicelab.cluster.reap import reap, restore_kept
from servicelab.host import ProcessIdentity, process_identity


class FakeEngine:
    """An engine that holds containers by label and records what was removed."""

    def __init__(self, containers: dict[str, list[str]]) -> None:
        self.containers = containers
        self.removed: list[str] = []

    def docker(self, *args: str, **_: Any) -> str:
        """Answer `ps` by label; take `rm`."""
        if args[0] == "rm":
            self.removed += [name for name in args if not name.startswith("-") and name != "rm"]
            return ""
        label = next(arg.removeprefix("label=") for arg in args if arg.startswith("label="))
        return "\n".join(self.containers.get(label, []))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of the test's own."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path))


def write_lease(name: str, *, alive: bool, keep: bool = False) -> None:
    """A lease whose owner lives or belongs to another boot."""
    me = process_identity()
    owner = me if alive else ProcessIdentity(me.pid, me.started, "another boot")
    Lease(name, owner, "7f3a", keep=keep, made_by="run", node_image="node:1").write()


def test_only_what_a_dead_owner_left_is_removed() -> None:
    """Abandoned clusters go with all that stands beside them; used and kept ones stay."""
    write_lease("dead", alive=False)
    write_lease("kept", alive=False, keep=True)
    write_lease("used", alive=True)
    engine = FakeEngine(
        {
            "io.x-k8s.kind.cluster=dead": ["dead-control-plane", "dead-worker"],
            "servicelab.cluster=dead": ["dead-outside"],
            "io.x-k8s.kind.cluster=used": ["used-control-plane"],
        }
    )

    removed = reap(engine)  # type: ignore[arg-type]

    assert [entry.cluster for entry in removed] == ["dead"]
    assert engine.removed == ["dead-control-plane", "dead-worker", "dead-outside"]
    assert [lease.cluster for lease in all_leases()] == ["kept", "used"]


def test_a_second_reap_finds_nothing() -> None:
    """Reaping is done once."""
    write_lease("dead", alive=False)
    engine = FakeEngine({})
    reap(engine)  # type: ignore[arg-type]

    assert reap(engine) == []  # type: ignore[arg-type]


def test_without_an_engine_the_leases_go() -> None:
    """Where the engine is gone its containers are too, and only the lease is left to remove."""
    write_lease("dead", alive=False)

    assert [entry.containers for entry in reap(None)] == [()]
    assert all_leases() == []


def test_the_lock_of_one_cluster_does_not_hold_another() -> None:
    """Two clusters can be made at once."""
    with cluster_lock("a"), cluster_lock("b"):
        pass


def test_who_holds_the_lock_may_take_it_again() -> None:
    """A command that holds a cluster calls what holds it too."""
    with cluster_lock("a"), cluster_lock("a"):
        pass


def test_flags_are_put_back_in_kept_clusters_that_nobody_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One in use, one that will be removed anyway and one whose nodes are down are left alone."""
    write_lease("kept", alive=False, keep=True)
    write_lease("down", alive=False, keep=True)
    write_lease("sound", alive=False, keep=True)
    write_lease("dead", alive=False)
    write_lease("used", alive=True, keep=True)
    state = {"kept": "running", "sound": "running", "down": "exited"}
    took = Restart(12.0, 9.0)
    asked: list[str] = []

    def restore(cluster: Cluster) -> Restart:
        asked.append(cluster.name)
        return took

    module = import_module("servicelab.cluster.reap")  # the package gives the function that name
    monkeypatch.setattr(Cluster, "engine", None)
    monkeypatch.setattr(module, "is_changed", lambda name: name != "sound")
    monkeypatch.setattr(module, "node_states", lambda engine, name: {f"{name}-1": state[name]})
    monkeypatch.setattr(module, "restore_flags", restore)

    assert restore_kept() == {"kept": took}
    assert asked == ["kept"]
