"""A cluster's portrait: what is different is told, what is the same is not."""

from __future__ import annotations

from types import SimpleNamespace as Thing
from typing import Any

import pytest

from servicelab.cluster import portrait as portraits
from servicelab.cluster.node import Node
from servicelab.cluster.portrait import differences, portrait, unsettled

CONTROL_PLANE = Node("c-control-plane", "172.18.0.2", "control-plane")
WORKER = Node("c-worker", "172.18.0.3", "worker")


def test_what_is_as_before_is_not_told() -> None:
    """Equal portraits have no differences."""
    assert differences({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == []


def test_what_changed_came_or_went_is_told() -> None:
    """Each difference says what it is about, what was and what is."""
    assert differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "x", "d": "4"}) == [
        "b: 2 before, x now",
        "c: 3 before, nothing now",
        "d: nothing before, 4 now",
    ]


def test_what_is_still_under_way_is_told() -> None:
    """A node that is not Ready, Pods that are not all ready, a silent kube-proxy; nothing else."""
    facts = {
        "node a, Ready": "True",
        "node b, Ready": "False",
        "DaemonSet kube-system/kube-proxy, Pods": "2 of 3 ready",
        "Deployment kube-system/coredns, Pods": "1 of 1 ready",
        "ConfigMap kube-system/coredns": "1a2b3c",
        "kube-proxy on a, reported mode": "ipvs",
        "kube-proxy on b, reported mode": "nothing",
    }

    assert unsettled(facts) == [
        "DaemonSet kube-system/kube-proxy, Pods: 2 of 3 ready",
        "kube-proxy on b, reported mode: nothing",
        "node b, Ready: False",
    ]


class FakeApi:
    """CoreV1Api and AppsV1Api of a small cluster."""

    replicas_ready = 1
    ready = "True"
    taints: list[Any] = []  # noqa: RUF012
    data: dict[str, str] = {"config.conf": "mode: iptables"}  # noqa: RUF012

    def __init__(self, client: Any) -> None:
        pass

    def list_node(self) -> Any:
        return _list(
            Thing(
                metadata=Thing(name=WORKER.name),
                spec=Thing(taints=type(self).taints, unschedulable=None),
                status=Thing(
                    conditions=[Thing(type="Ready", status=type(self).ready)],
                    addresses=[Thing(address=WORKER.ip)],
                ),
            )
        )

    def list_namespaced_deployment(self, namespace: str) -> Any:
        if namespace != "kube-system":
            return _list()
        spec = Thing(replicas=1)
        return _list(
            Thing(
                metadata=Thing(name="coredns"),
                spec=spec,
                status=Thing(ready_replicas=type(self).replicas_ready),
            )
        )

    def list_namespaced_daemon_set(self, namespace: str) -> Any:
        return _list()

    def list_namespaced_service(self, namespace: str) -> Any:
        return _list()

    def list_namespaced_config_map(self, namespace: str) -> Any:
        maps = [Thing(metadata=Thing(name="kube-proxy"), data=type(self).data)]
        return _list(*maps) if namespace == "kube-system" else _list()


def _list(*items: Any) -> Any:
    return Thing(items=list(items))


class FakeCluster:
    """As far as a portrait looks at one."""

    name = "c"
    engine = None
    nodes = (CONTROL_PLANE, WORKER)
    node_vantages = (Thing(name=WORKER.name),)
    client = Thing(sanitize_for_serialization=lambda value: str(value))
    manifest = "aaaaaaaaaaaaaaaa"
    reported = "iptables"

    def docker_exec(self, node: str, *argv: str) -> str:
        """The digests of its static manifests."""
        assert (node, argv[:2]) == (CONTROL_PLANE.name, ("find", "/etc/kubernetes/manifests"))
        return f"{self.manifest}  /etc/kubernetes/manifests/kube-apiserver.yaml\n"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """A small cluster whose parts a test may change."""
    monkeypatch.setattr("kubernetes.client.CoreV1Api", FakeApi)
    monkeypatch.setattr("kubernetes.client.AppsV1Api", FakeApi)
    monkeypatch.setattr(portraits, "node_states", lambda engine, name: {WORKER.name: "running"})
    monkeypatch.setattr(
        portraits,
        "mode_seen",
        lambda cluster, vantage: Thing(
            node=vantage.name, reported=cluster.reported, rules=("iptables",)
        ),
    )
    return FakeCluster()


@pytest.mark.parametrize(
    ("target", "name", "value", "told"),
    [
        (
            FakeApi,
            "taints",
            [Thing(key="a", effect="b")],
            "node c-worker, taints: none before, a:b now",
        ),
        (FakeApi, "ready", "Unknown", "node c-worker, Ready: True before, Unknown now"),
        (FakeApi, "replicas_ready", 0, "coredns, Pods: 1 of 1 ready before, 0 of 1 ready now"),
        (FakeApi, "data", {"config.conf": "mode: ipvs"}, "ConfigMap kube-system/kube-proxy: "),
        (FakeCluster, "reported", "", "reported mode: iptables before, nothing now"),
        (FakeCluster, "manifest", "b" * 16, "kube-apiserver.yaml: aaaaaaaaaaaa before, bbbb"),
    ],
)
def test_what_is_disrupted_shows(
    cluster: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    target: type,
    name: str,
    value: Any,
    told: str,
) -> None:
    """A node, a workload, a setting, a static manifest: each change is one difference."""
    before = portrait(cluster)  # type: ignore[arg-type]
    assert differences(before, portrait(cluster)) == []  # type: ignore[arg-type]

    monkeypatch.setattr(target, name, value)

    (difference,) = differences(before, portrait(cluster))  # type: ignore[arg-type]
    assert told in difference


def test_taints_that_follow_a_condition_are_no_difference(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come and go a moment after the condition, which is looked at itself."""
    before = portrait(cluster)  # type: ignore[arg-type]

    monkeypatch.setattr(
        FakeApi, "taints", [Thing(key="node.kubernetes.io/not-ready", effect="NoExecute")]
    )

    assert differences(before, portrait(cluster)) == []  # type: ignore[arg-type]


def test_a_kube_proxy_that_did_not_answer_is_under_way(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a cluster would never be again as it was when it was not asked in time."""
    assert unsettled(portrait(cluster)) == []  # type: ignore[arg-type]

    monkeypatch.setattr(FakeCluster, "reported", "")

    silent = "kube-proxy on c-worker, reported mode: nothing"
    assert unsettled(portrait(cluster)) == [silent]  # type: ignore[arg-type]
