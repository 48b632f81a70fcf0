"""CoreDNS is waited for, and started anew once where it hangs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from servicelab.cluster import coredns
from servicelab.progress import Progress
from servicelab.verdict import NotProved, deadlines


def pod(phase="Running", ready="True", going=False):
    return SimpleNamespace(
        metadata=SimpleNamespace(name="coredns-1", deletion_timestamp="now" if going else None),
        spec=SimpleNamespace(node_name="worker"),
        status=SimpleNamespace(
            phase=phase, conditions=[SimpleNamespace(type="Ready", status=ready)]
        ),
    )


class FakeCore:
    """The API, with what it was asked to delete."""

    def __init__(self, pods):
        self.pods = pods
        self.deleted = []

    def list_namespaced_pod(self, *args, **kwargs):
        return SimpleNamespace(items=list(self.pods.values()))

    def read_namespaced_pod_log(self, name, namespace):
        return "plugin/kubernetes: starting server with unsynced Kubernetes API"

    def delete_collection_namespaced_pod(self, namespace, **selection):
        self.deleted.append((namespace, selection["label_selector"]))


@pytest.fixture
def stand(monkeypatch, tmp_path):
    """A cluster whose CoreDNS is as told, one state for each look until it satisfies."""

    def make(*states):
        core = FakeCore({"coredns-1": states[0]})
        left = list(states)
        waits = []

        def watch_until(listing, until, *, deadline, **_):
            waits.append(deadline.name)
            while left:
                core.pods = {"coredns-1": left[0]}
                if until(core.pods):
                    return core.pods
                if len(left) == 1 or left[0] is left[1]:
                    del left[0]
                    break
                del left[0]
            raise NotProved(f"{deadline.name}: not within {deadline.seconds} s")

        monkeypatch.setattr("kubernetes.client.CoreV1Api", lambda client: core)
        monkeypatch.setattr(coredns, "watch_until", watch_until)
        monkeypatch.setattr(coredns, "state_root", lambda: tmp_path)
        cluster = SimpleNamespace(client=None, name="lab", progress=Progress(quiet=True))
        return cluster, core, waits

    return make


def test_one_that_is_ready_is_left_alone(stand):
    cluster, core, waits = stand(pod())

    coredns.wait_until_ready(cluster)

    assert core.deleted == []
    assert waits == ["cluster_ready", "coredns_starts"]


def test_one_that_starts_late_is_left_alone(stand):
    """As long as it does not run, it does not hang."""
    cluster, core, _ = stand(pod("Pending", "False"), pod(ready="False"), pod())

    coredns.wait_until_ready(cluster)

    assert core.deleted == []


def test_one_that_hangs_is_started_anew_once(stand, tmp_path):
    hanging = pod(ready="False")
    cluster, core, waits = stand(hanging, hanging, pod())

    coredns.wait_until_ready(cluster)

    assert core.deleted == [("kube-system", coredns.COREDNS)]
    assert waits == ["cluster_ready", "coredns_starts", "cluster_ready"]
    assert "unsynced" in (tmp_path / "logs/coredns-lab.log").read_text()


def test_one_that_goes_on_hanging_is_told(stand):
    hanging = pod(ready="False")
    cluster, core, _ = stand(hanging, hanging, hanging)

    with pytest.raises(NotProved, match="cluster_ready"):
        coredns.wait_until_ready(cluster)
    assert len(core.deleted) == 1


def test_a_pod_that_is_being_deleted_is_not_ready(stand):
    cluster, _core, _ = stand(pod(going=True))

    with pytest.raises(NotProved):
        coredns.wait_until_ready(cluster)


def test_the_limit_for_hanging_grows_with_the_others():
    assert deadlines.current().coredns_starts.seconds < deadlines.current().cluster_ready.seconds
