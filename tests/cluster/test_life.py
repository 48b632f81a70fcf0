"""The life of a cluster: interrupted, abandoned, reaped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from servicelab.cluster import Cluster, all_leases, read_lease, reap
from servicelab.verdict import deadlines, eventually

pytestmark = pytest.mark.docker

NAME = "servicelab-life"
CREATE = f"""
import sys
from servicelab.cluster import Cluster
from servicelab.interrupts import terminate_like_ctrl_c
terminate_like_ctrl_c()
try:
    Cluster({NAME!r}).create()
except KeyboardInterrupt:
    sys.exit(130)
print("created", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def creator() -> subprocess.Popen[str]:
    """A process that makes a cluster of its own, and is gone after the test."""
    process = subprocess.Popen(
        [sys.executable, "-c", CREATE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    yield process
    process.kill()
    process.communicate()


def containers(cluster: Cluster) -> list[str]:
    """The containers that belong to the cluster under test."""
    label = f"label=io.x-k8s.kind.cluster={NAME}"
    return cluster.engine.docker("ps", "-aq", "--filter", label).split()


def wait_for_nodes(cluster: Cluster) -> None:
    """Until kind has made the first container."""
    eventually(
        lambda: containers(cluster),
        lambda found: bool(found),
        deadline=deadlines.current().cluster_created,
        expecting="kind to make the first node",
    )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_creation_leaves_nothing(
    kind_cluster: Cluster, creator: subprocess.Popen[str], signum: signal.Signals
) -> None:
    """SIGTERM and SIGINT while nodes are being made: containers and lease go, then the process."""
    wait_for_nodes(kind_cluster)
    creator.send_signal(signum)

    assert creator.wait(60) == 130
    assert containers(kind_cluster) == []
    assert read_lease(NAME) is None


def test_what_a_killed_owner_left_is_reaped(
    kind_cluster: Cluster, creator: subprocess.Popen[str]
) -> None:
    """SIGKILL leaves a lease; reap finds it, removes the containers, and spares every other."""
    wait_for_nodes(kind_cluster)
    assert reap(kind_cluster.engine) == [], "a living owner's cluster is not touched"
    creator.kill()
    creator.wait()

    removed = reap(kind_cluster.engine)

    assert [entry.cluster for entry in removed] == [NAME]
    assert containers(kind_cluster) == []
    assert kind_cluster.name in {lease.cluster for lease in all_leases()}


def test_a_cluster_in_use_is_refused_to_a_second_run(kind_cluster: Cluster) -> None:
    """A second process that asks for the same cluster is told who has it, with exit code 2."""
    second = subprocess.run(
        [sys.executable, "-m", "servicelab", "up", "--cluster-name", kind_cluster.name],
        capture_output=True,
        text=True,
        check=False,
    )

    assert second.returncode == 2
    assert f"in use by process {os.getpid()}" in second.stderr


def test_status_names_the_cluster_and_its_user(kind_cluster: Cluster) -> None:
    """`servicelab status --json` says who uses which cluster, in which mode."""
    shown = json.loads(
        subprocess.check_output([sys.executable, "-m", "servicelab", "status", "--json"])
    )

    mine = next(entry for entry in shown["clusters"] if entry["cluster"] == kind_cluster.name)
    assert mine["owner"] == os.getpid()
    assert mine["mode"] == kind_cluster.mode


def test_the_users_kubeconfig_is_neither_read_nor_written(
    kind_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a KUBECONFIG that can't be parsed in the environment, everything works the same."""
    users = tmp_path / "config"
    users.write_text("{ not a kubeconfig")
    monkeypatch.setenv("KUBECONFIG", str(users))

    assert kind_cluster.name in kind_cluster.kubectl("get", "nodes")
    assert users.read_text() == "{ not a kubeconfig"
