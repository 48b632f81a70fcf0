"""What is worth keeping of a cluster is asked for as the API server and the kernel give it."""

from __future__ import annotations

import json
from types import SimpleNamespace as Object
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiException

from servicelab.errors import InfrastructureError
from servicelab.report.evidence import sources
from servicelab.report.evidence.names import names_of
from servicelab.report.evidence.redaction import Redaction
from servicelab.report.evidence.sources import Piece, of_cluster, of_lab

POD = {
    "metadata": {"name": "web-1", "managedFields": [{"manager": "kubectl"}]},
    "spec": {"nodeName": "dev-worker"},
    "status": {
        "podIPs": [{"ip": "10.244.1.7"}],
        "containerStatuses": [
            {"name": "web", "restartCount": 1, "state": {"running": {}}},
            {"name": "waits", "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull"}}},
        ],
    },
}
EVENTS = [
    {
        "metadata": {"name": "later"},
        "lastTimestamp": "2026-11-21T15:00:01Z",
        "type": "Warning",
        "reason": "Failed",
        "message": "Back-off\npulling",
        "count": 3,
        "involvedObject": {"kind": "Pod", "name": "web-1"},
        "source": {"component": "kubelet"},
    },
    {"metadata": {"name": "earlier"}, "eventTime": "2026-11-21T15:00:00.5Z", "reason": "Scheduled"},
]


class FakeGroup:
    """A group of the API: each list method gives what the test says, the others nothing."""

    def __init__(self, **listed: Any) -> None:
        self.listed = listed
        self.asked: list[tuple[str, tuple[str, ...], dict[str, Any]]] = []

    def __getattr__(self, method: str) -> Any:
        def call(*args: str, **details: Any) -> Any:
            assert details.pop("_preload_content") is False
            assert details.pop("_request_timeout") <= 5
            self.asked.append((method, args, details))
            found = self.listed.get(method, [])
            if isinstance(found, Exception):
                raise found
            data = found if isinstance(found, bytes) else json.dumps({"items": found}).encode()
            return Object(data=data)

        return call


class FakeCluster:
    """Three groups of the API and two nodes, one of which is dead."""

    name = "dev"
    mode = "nftables"
    nodes = (Object(name="dev-worker", ip="172.18.0.3"), Object(name="dead", ip="172.18.0.4"))

    def docker_exec(self, node: str, *argv: str) -> str:
        if node == "dead":
            raise InfrastructureError("no such container")
        return f"what {argv[0]} printed"


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeGroup:
    """The core group; the others list nothing."""
    group = FakeGroup(
        list_namespaced_pod=[POD],
        list_namespaced_service=[
            {
                "metadata": {"name": "web"},
                "spec": {"clusterIPs": ["10.96.0.7"], "externalIPs": ["172.18.0.9"]},
                "status": {"loadBalancer": {"ingress": [{"ip": "172.18.255.1"}]}},
            }
        ],
        list_namespaced_secret=[{"metadata": {"name": "db"}, "data": {"password": "aHVudGVyMg=="}}],
        list_namespaced_event=EVENTS,
        read_namespaced_pod_log=b"2026 a line \xff\n",
        list_node=[{"metadata": {"name": "dev-worker"}, "status": {"images": [{"names": ["x"]}]}}],
    )

    class FakeApi(sources.Api):
        def __init__(self, cluster: Any) -> None:
            self.core = group
            self.apps = self.discovery = self.networking = FakeGroup()

    monkeypatch.setattr(sources, "Api", FakeApi)
    return group


def lab(**more: Any) -> Any:
    return Object(cluster=FakeCluster(), namespace="lab-1", others=(), also_kept={}, **more)


def all_of(pieces: list[Piece]) -> dict[str, str | InfrastructureError]:
    """The text of each piece by its path, further pieces included."""
    found: dict[str, str | InfrastructureError] = {}
    for piece in pieces:
        try:
            answer = piece.get()
        except InfrastructureError as error:
            answer = error  # type: ignore[assignment]
        if isinstance(answer, list):
            found |= all_of(answer)
        else:
            found["/".join(piece.path)] = answer  # type: ignore[assignment]
    return found


def test_a_lab_leaves_objects_events_slices_and_logs(core: FakeGroup) -> None:
    """As kubectl would show them, without bookkeeping and without what is secret."""
    found = all_of(of_lab(lab(), Redaction()))

    objects = {each["kind"]: each for each in yaml.safe_load_all(str(found["lab-1/objects.yaml"]))}
    assert set(objects) == {"Service", "Pod", "Secret"}
    assert objects["Pod"]["apiVersion"] == "v1"
    assert "managedFields" not in objects["Pod"]["metadata"]
    assert objects["Secret"]["data"] == {"password": "(redacted, 12 characters)"}
    assert found["lab-1/endpointslices.yaml"] == "# none\n"
    assert found["lab-1/logs/web-1.web.txt"] == "2026 a line \N{REPLACEMENT CHARACTER}\n"
    assert "lab-1/logs/web-1.web-before-restart.txt" in found
    assert not any("waits" in path for path in found)


def test_events_are_in_order_of_time(core: FakeGroup) -> None:
    """Each with its object, its count and who reports it."""
    text = str(all_of(of_lab(lab(), Redaction()))["lab-1/events.txt"])

    assert text.index("Scheduled") < text.index("Failed")
    assert "Failed  Pod/web-1  3x  from kubelet\n    Back-off pulling\n" in text


def test_logs_have_a_limit(core: FakeGroup) -> None:
    """The kubelet is asked for the last lines only, and for so many bytes."""
    all_of(of_lab(lab(), Redaction()))

    (log, *_) = (details for method, _, details in core.asked if "pod_log" in method)
    assert log["tail_lines"] <= 1000
    assert log["limit_bytes"] <= 1_000_000
    lists = [details for method, _, details in core.asked if method.startswith("list_")]
    assert all(details["limit"] <= 500 for details in lists)


def test_what_the_api_server_refuses_is_said(core: FakeGroup) -> None:
    """On an existing cluster we may not see Secrets: the rest is there all the same."""
    core.listed["list_namespaced_secret"] = ApiException(status=403, reason="Forbidden")
    text = str(all_of(of_lab(lab(), Redaction()))["lab-1/objects.yaml"])

    assert text.startswith("# Secret: the API server refuses: 403 Forbidden\n")
    assert "kind: Pod" in text


def test_other_namespaces_and_what_the_lab_adds(core: FakeGroup) -> None:
    """A lab may have further namespaces, and know of further things to keep."""
    with_more = lab()
    with_more.others = (Object(namespace="other-1"),)
    with_more.also_kept = {"bgp-routes.txt": lambda: "10.0.0.0/8"}
    found = all_of(of_lab(with_more, Redaction()))

    assert "other-1/objects.yaml" in found
    assert found["bgp-routes.txt"] == "10.0.0.0/8"


def test_the_cluster_gives_each_nodes_rules(core: FakeGroup) -> None:
    """As the kernel's tool of the mode prints them; a dead node hides no other."""
    found = all_of(of_cluster(FakeCluster(), Redaction()))  # type: ignore[arg-type]

    assert found["rules/dev-worker.txt"] == (
        "# dev-worker: nft list table ip kube-proxy\nwhat nft printed"
    )
    assert isinstance(found["rules/dead.txt"], InfrastructureError)
    assert "system/web-1.web.txt" in found
    assert "images" not in str(found["nodes.yaml"])


def test_addresses_have_names(core: FakeGroup) -> None:
    """Every address of a Service, of a Pod, of a node."""
    assert names_of(lab()) == {
        "172.18.0.3": "node dev-worker",
        "172.18.0.4": "node dead",
        "10.244.1.7": "Pod web-1",
        "10.96.0.7": "Service web",
        "172.18.0.9": "Service web",
        "172.18.255.1": "Service web",
    }


@pytest.mark.parametrize("broken", [ApiException(status=500), [{"metadata": {}}], [7]])
def test_a_name_that_cannot_be_had_is_missing(core: FakeGroup, broken: Any) -> None:
    """The API server is down, or says nonsense: pictures have addresses instead."""
    core.listed["list_namespaced_service"] = broken

    assert names_of(lab()) == {}
