"""The cluster's DNS, led to the world and back: what is changed, and when CoreDNS is told."""

from __future__ import annotations

from types import SimpleNamespace as Fields
from typing import Any

import pytest

from servicelab.errors import InfrastructureError
from servicelab.verdict import deadlines
from servicelab.world.cluster_dns import ClusterDns

COREFILE = ".:53 {\n    forward . /etc/resolv.conf\n    reload\n}\n"


class FakeCluster:
    """A cluster whose kubelet renews a Pod's file when the Pod is changed for the n-th time.

    Args:
        slow: n.
    """

    name = "kind"

    def __init__(self, slow: int = 1) -> None:
        self.slow = slow
        self.text = COREFILE
        self.mounted = COREFILE
        self.annotated = 0
        self.annotation: str | None = None
        self.done: list[str] = []

    def docker_exec(self, node: str, *argv: str) -> str:
        """Read the mounted file, or note a signal."""
        if argv[0] == "cat":
            assert "/pods/u-1/" in argv[1]
            return self.mounted
        self.done.append(f"{' '.join(argv)} on {node}: {'new' if self.is_new else 'old'}")
        return ""

    @property
    def is_new(self) -> bool:
        """Whether the file is the ConfigMap's."""
        return self.mounted == self.text

    # The API.

    def read_namespaced_config_map(self, name: str, namespace: str) -> Any:
        """The ConfigMap."""
        return Fields(data={"Corefile": self.text})

    def patch_namespaced_config_map(self, name: str, namespace: str, body: Any) -> None:
        """Change it."""
        self.text = body["data"]["Corefile"]
        self.annotated = 0

    def list_namespaced_pod(self, namespace: str, label_selector: str) -> Any:
        """A Pod that runs, and one that is going."""

        def pod(name: str, going: str | None) -> Any:
            metadata = Fields(name=name, uid="u-1", deletion_timestamp=going)
            status = Fields(phase="Running", pod_ip="10.244.0.2")
            return Fields(metadata=metadata, status=status, spec=Fields(node_name="worker"))

        return Fields(items=[pod("coredns-a", None), pod("coredns-b", "now")])

    def patch_namespaced_pod(self, name: str, namespace: str, body: Any) -> None:
        """Have the kubelet look after the Pod."""
        assert name == "coredns-a"
        (self.annotation,) = body["metadata"]["annotations"].values()
        if self.annotation is None:
            return
        self.annotated += 1
        if self.annotated >= self.slow:
            self.mounted = self.text


def dns_of(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> ClusterDns:
    """The DNS of a fake cluster."""
    monkeypatch.setattr(ClusterDns, "_core", cluster)
    return ClusterDns(cluster)  # type: ignore[arg-type]


def test_it_is_led_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """CoreDNS is told once its file is new, each time; in the end all is as it was."""
    cluster = FakeCluster()
    dns = dns_of(cluster, monkeypatch)

    dns.forward(["example.com"], "172.18.0.9")
    assert dns.forwards_to() == "172.18.0.9"
    dns.put_back()

    assert dns.forwards_to() is None
    assert cluster.text == cluster.mounted == COREFILE
    assert cluster.annotation is None
    assert cluster.done == ["pkill -USR1 -x coredns on worker: new"] * 2


def test_nothing_is_told_where_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Corefile that is right already, or was never changed, is left alone."""
    cluster = FakeCluster()
    dns = dns_of(cluster, monkeypatch)

    dns.put_back()
    dns.forward(["example.com"], "172.18.0.9")
    dns.forward(["example.com"], "172.18.0.9")

    assert len(cluster.done) == 1


def test_a_kubelet_that_has_not_heard_of_it_yet_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Pod is changed until its file is new; only then CoreDNS is told."""
    cluster = FakeCluster(slow=3)

    dns_of(cluster, monkeypatch).forward(["example.com"], "172.18.0.9")

    assert cluster.annotated == 3
    assert cluster.done == ["pkill -USR1 -x coredns on worker: new"]


def test_a_file_that_never_comes_is_an_infrastructure_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says whose file it is, and where to look."""
    before = deadlines.use(deadlines.parse(["world_stands=0.2"]))
    try:
        with pytest.raises(InfrastructureError, match="CoreDNS of kind does not take up") as caught:
            dns_of(FakeCluster(slow=1000), monkeypatch).forward(["example.com"], "172.18.0.9")
    finally:
        deadlines.use(before)
    assert "logs" in caught.value.remedy
