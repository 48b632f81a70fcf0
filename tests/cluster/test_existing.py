"""A run on a cluster that servicelab did not make: here one of ours, known by its context only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kubernetes.client import CoreV1Api

from servicelab.cluster import Cluster, read_lease
from servicelab.cluster.existing import ExistingCluster
from servicelab.errors import NotAsked
from servicelab.vantage.nodes import SYSTEM_NAMESPACE

pytestmark = pytest.mark.docker

LABS = Path(__file__).parents[2] / "labs"


@pytest.fixture
def existing(cluster: Cluster) -> ExistingCluster:
    """The session's cluster as a stranger sees it."""
    stranger = ExistingCluster(f"kind-{cluster.name}", Path(cluster.kubeconfig_path))
    yield stranger
    stranger.close()


def test_a_run_asks_what_it_can_and_says_what_it_does_not(cluster, tmp_path):
    """Claims are proved; one that needs a host outside is skipped, with that as the reason."""
    results = tmp_path / "claims.json"
    argv = [
        *(sys.executable, "-m", "pytest", str(LABS / "clusterip"), "-k", "CIP-05 or CIP-07"),
        *(f"--context=kind-{cluster.name}", f"--kubeconfig={cluster.kubeconfig_path}"),
        *(f"--kind-kubectl-bin={cluster.kubectl_path}", f"--claims-json={results}"),
        f"--report-dir={tmp_path}",
    ]

    ran = subprocess.run(argv, capture_output=True, text=True, cwd=LABS.parent, env=os.environ)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    verdicts = {each["id"]: each for each in json.loads(results.read_text())["claims"]}
    assert {each["mode"] for each in verdicts.values()} == {cluster.mode}
    assert verdicts["CIP-05"]["verdict"] == "holds"
    assert verdicts["CIP-07"]["verdict"] == "skipped"
    assert f"not asked of kind-{cluster.name}" in verdicts["CIP-07"]["message"]


def test_nothing_that_was_there_before_is_deleted(cluster, existing):
    """Neither the cluster, nor the probes that somebody else put there."""
    existing.create()

    existing.release()
    existing.delete()

    phase = CoreV1Api(cluster.client).read_namespace(SYSTEM_NAMESPACE).status.phase
    assert phase == "Active"
    assert read_lease(cluster.name) is not None


def test_rules_are_read_and_nothing_else_is_run_on_a_node(cluster, existing):
    """kube-proxy's Pod prints its node's rules; a command that could change them is not asked."""
    node = cluster.nodes[-1].name

    assert "KUBE-" in existing.docker_exec(node, "iptables-save")
    with pytest.raises(NotAsked, match="which servicelab did not make"):
        existing.docker_exec(node, "ip", "route", "add", "blackhole", "192.0.2.1/32")
    with pytest.raises(NotAsked):
        existing.switch_mode("ipvs")
