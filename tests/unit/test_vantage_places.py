"""The Pods, nodes and containers that are vantage points, without a cluster."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from kubernetes.client import ApiException, Configuration

from servicelab.engine import Engine
from servicelab.errors import InfrastructureError
from servicelab.pins import pins
from servicelab.vantage import ChannelBroken, client_pod_manifest, nodes
from servicelab.vantage.nodes import NODE_PROBES, SYSTEM_NAMESPACE, NodeVantage, node_vantages
from servicelab.vantage.outside import start_outside


def test_a_client_pod_is_allowed_where_pod_security_is_restricted() -> None:
    """Clients run in any namespace: no root, no capabilities, no privileges, seccomp on."""
    pod = client_pod_manifest("client-a", "shop", labels={"app": "client"})
    spec = pod["spec"]
    (container,) = spec["containers"]

    assert pod["metadata"]["namespace"] == "shop"
    assert pod["metadata"]["labels"]["app"] == "client"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == pins().probe_image
    assert container["command"][-1] == "idle"
    assert spec["automountServiceAccountToken"] is False
    assert "nodeName" not in spec


def test_a_client_pod_can_be_put_on_a_node_whatever_its_taints() -> None:
    """A client on the control plane is a client like any other."""
    spec = client_pod_manifest("client-a", "shop", node="kind-control-plane", image="mine:1")[
        "spec"
    ]

    assert spec["nodeName"] == "kind-control-plane"
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["containers"][0]["image"] == "mine:1"


def test_node_probes_stand_in_the_nodes_own_network() -> None:
    """The node's probe has its network and resolver, and waits for nothing else in the cluster."""
    documents = {each["kind"]: each for each in yaml.safe_load_all(NODE_PROBES)}
    spec = documents["DaemonSet"]["spec"]["template"]["spec"]

    assert documents["Namespace"]["metadata"]["name"] == SYSTEM_NAMESPACE
    assert spec["hostNetwork"] is True
    assert spec["dnsPolicy"] == "Default"
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["serviceAccountName"] == documents["ServiceAccount"]["metadata"]["name"]
    assert spec["containers"][0]["image"] == pins().probe_image
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"


class FakeApi:
    """Nodes and probe Pods as the API server lists them."""

    def __init__(self, pods: list[Any] | Exception) -> None:
        self.pods = pods
        self.asked: dict[str, Any] = {}

    def list_node(self, **_: Any) -> Any:
        role = "node-role.kubernetes.io/control-plane"
        return SimpleNamespace(
            items=[
                _node("kind-worker", {}, ("Hostname", "kind-worker"), ("InternalIP", "172.18.0.3")),
                _node(
                    "kind-control-plane",
                    {role: ""},
                    ("InternalIP", "fc00::2"),
                    ("InternalIP", "172.18.0.2"),
                ),
                _node("kind-six", None, ("InternalIP", "fc00::4")),
            ]
        )

    def list_namespaced_pod(self, namespace: str, **asked: Any) -> Any:
        self.asked = {"namespace": namespace, **asked}
        if isinstance(self.pods, Exception):
            raise self.pods
        return SimpleNamespace(items=self.pods)


def _node(name: str, labels: dict[str, str] | None, *addresses: tuple[str, str]) -> Any:
    return SimpleNamespace(
        metadata=SimpleNamespace(name=name, labels=labels),
        status=SimpleNamespace(
            addresses=[SimpleNamespace(type=kind, address=each) for kind, each in addresses]
        ),
    )


def _pod(name: str, phase: str, deleted: str | None = None) -> Any:
    return SimpleNamespace(
        metadata=SimpleNamespace(name=name, deletion_timestamp=deleted),
        status=SimpleNamespace(phase=phase),
    )


def fake(monkeypatch: pytest.MonkeyPatch, pods: list[Any] | Exception) -> FakeApi:
    """Stand an API server's answers in for it."""
    api = FakeApi(pods)
    monkeypatch.setattr(nodes, "_core", lambda configuration: api)
    return api


def test_each_node_is_a_vantage_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes have name, role and an IPv4 address where they have one; control plane first."""
    fake(monkeypatch, [])

    found = node_vantages(Configuration())

    assert [(each.name, each.role, each.ip) for each in found.values()] == [
        ("kind-control-plane", "control-plane", "172.18.0.2"),
        ("kind-six", "worker", "fc00::4"),
        ("kind-worker", "worker", "172.18.0.3"),
    ]
    assert found["kind-worker"].url(30080) == "http://172.18.0.3:30080/"
    assert found["kind-six"].url(30080, "/x") == "http://[fc00::4]:30080/x"


def test_the_probe_that_runs_on_the_node_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the node's probe Pods the one that runs and stays is taken."""
    pods = [_pod("old", "Running", "now"), _pod("dead", "Failed"), _pod("good", "Running")]
    api = fake(monkeypatch, pods)
    vantage = NodeVantage(Configuration(), "kind-worker", "172.18.0.3", "worker")

    assert vantage._probe_pod() == "good"
    assert api.asked["namespace"] == SYSTEM_NAMESPACE
    assert api.asked["field_selector"] == "spec.nodeName=kind-worker"


@pytest.mark.parametrize(
    ("pods", "problem"),
    [
        ([], "it has no probe Pod"),
        ([_pod("probe-node-x", "Pending")], "probe-node-x Pending"),
        (ApiException(status=403, reason="Forbidden"), "Forbidden"),
    ],
)
def test_a_node_without_a_probe_says_so(
    monkeypatch: pytest.MonkeyPatch, pods: list[Any] | Exception, problem: str
) -> None:
    """A node that can't be asked from is an infrastructure failure that names it."""
    fake(monkeypatch, pods)
    vantage = NodeVantage(Configuration(), "kind-worker", "172.18.0.3", "worker")

    with pytest.raises(ChannelBroken, match=problem) as caught:
        vantage.reach()
    assert "kind-worker" in str(caught.value)


class FakeEngine:
    """Notes docker's arguments; the command that holds `fails` does."""

    docker_binary = "/usr/bin/docker"
    env: dict[str, str]

    def __init__(self, fails: str = "nothing") -> None:
        self.env = {}
        self.fails = fails
        self.commands: list[list[str]] = []

    def docker(self, *argv: str) -> str:
        self.commands.append(list(argv))
        if argv[0] == self.fails:
            raise InfrastructureError(f"docker {argv[0]} failed")
        here = {"IPAddress": "172.18.0.9", "GlobalIPv6Address": ""}
        inspected = [{"NetworkSettings": {"Networks": {"kind": here}}}]
        return json.dumps(inspected) if argv[0] == "inspect" else ""


def test_an_outside_host_stands_on_the_clusters_network() -> None:
    """It has an address there, the cluster's label, and two capabilities: NET_ADMIN, NET_RAW."""
    engine = FakeEngine()

    outside = start_outside(cast("Engine", engine), "lab", "probe:1")

    run = engine.commands[0]
    assert outside.ip == "172.18.0.9"
    assert outside.addresses == ("172.18.0.9",)
    assert outside.name.startswith("lab-outside-")
    assert {"--network=kind", "--label=servicelab.cluster=lab", "--pull=never"} <= set(run)
    assert [each for each in run if each.startswith("--cap-add")] == [
        "--cap-add=NET_ADMIN",
        "--cap-add=NET_RAW",
    ]
    assert run[run.index("probe:1") :][-1] == "idle"


def test_two_outside_hosts_have_two_names() -> None:
    """Workers that run beside each other each have a host of their own."""
    engine = cast("Engine", FakeEngine())

    assert start_outside(engine, "lab", "p").name != start_outside(engine, "lab", "p").name


@pytest.mark.parametrize("fails", ["run", "inspect"])
def test_a_host_that_does_not_start_leaves_nothing(fails: str) -> None:
    """A container that failed half-way is removed before the error is told."""
    engine = FakeEngine(fails)

    with pytest.raises(InfrastructureError, match=f"docker {fails} failed"):
        start_outside(cast("Engine", engine), "lab", "probe:1")
    assert engine.commands[-1][:2] == ["rm", "--force"]


def test_routes_are_given_and_taken_as_root_of_the_container() -> None:
    """A route to a range by way of a node is one `ip route` inside the container."""
    engine = FakeEngine()
    outside = start_outside(cast("Engine", engine), "lab", "probe:1")
    engine.commands.clear()

    outside.add_route("10.96.0.0/16", "172.18.0.2")
    outside.del_route("10.96.0.0/16")
    outside.forget_neighbours()
    outside.remove()

    into = ["exec", "--user", "0:0", outside.name, "ip"]
    assert engine.commands == [
        [*into, "route", "replace", "10.96.0.0/16", "via", "172.18.0.2"],
        [*into, "route", "del", "10.96.0.0/16"],
        [*into, "neighbour", "flush", "all"],
        ["rm", "--force", "--volumes", outside.name],
    ]
