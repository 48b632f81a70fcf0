"""On a real cluster, with Services broken in one layer each: the walk names that layer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from servicelab.cluster import Cluster
from servicelab.explain import Access, Walk, explain, explain_lightly
from servicelab.explain.choosing import any_cluster
from servicelab.lab import Lab
from servicelab.pins import pins
from servicelab.report.broken_layer import broken_layers
from servicelab.verdict import deadlines, eventually

pytestmark = pytest.mark.docker

#: What the light walk may take beside a test that failed, in seconds.
LIGHT = 2.0

BROKEN = [
    ("wrong-selector", "selector", "2 Pods have app=web"),
    ("no-selector", "selector", "nobody has made an EndpointSlice"),
    ("apricot", "labels", "1 Pod has app=apricto (apricot), the selector asks app=apricot"),
    ("unready", "readiness", "HTTP probe failed with statuscode: 404"),
    ("by-hand", "endpointslice", "nobody answers at 192.0.2.9:80"),
    ("wrong-port", "targetPort", "nobody listens there; it listens on 80"),
    ("wrong-port-name", "targetPort", "has a port of that name: they have 80/TCP (www)"),
    ("loopback", "targetPort", "it listens on 127.0.0.1 only"),
    ("one-hangs", "targetPort", "hanging takes what is sent to 80/TCP and never answers"),
    ("wrong-protocol", "protocol", "set the port's protocol to UDP"),
    ("udp-to-tcp", "protocol", "set the port's protocol to TCP"),
    ("local-only", "policy", "internalTrafficPolicy is Local"),
    ("left-alone", "rules", "tells kube-proxy to leave it alone"),
    ("address-as-name", "dns", "DNS takes it for a name"),
    ("nowhere", "dns", "there is no such Service, or it has no ready Pods"),
    ("pending", "metallb", "no load balancer is installed here"),
]
SOUND = ["sound", "headless", "over-udp", "node-port", "alias"]


@dataclass
class Shop:
    """explain.yaml in a namespace."""

    lab: Lab
    access: Access

    def explain(self, service: str, from_: Any = None) -> Walk:
        """Explain one of its Services."""
        return explain(self.access, self.lab.namespace, service, from_)


@pytest.fixture(scope="module")
def shop(shared_lab: Lab) -> Shop:
    """All the Services at once; none is changed."""
    text = (shared_lab.folder / "explain.yaml").read_text(encoding="utf-8")
    text = text.replace("PROBE_IMAGE", pins().probe_image)
    shared_lab.apply_text(text.replace("NAMESPACE", shared_lab.namespace))
    pods = shared_lab.ready_pods("app in (web, shy)", 3)
    shared_lab.ready_pods("pair=one", 2)
    shared_lab.running_pod("moody")
    shared_lab.service("sound").settles_on([pod for pod in pods if pod.name != "shy"])
    return Shop(shared_lab, Access(shared_lab.cluster))


@pytest.mark.parametrize(("service", "word", "says"), BROKEN)
def test_a_broken_layer_is_named(shop: Shop, service: str, word: str, says: str) -> None:
    """The first broken layer is found, with a sentence that says what is wrong."""
    if service == "unready":
        eventually(
            lambda: shop.explain(service).sentence,
            lambda sentence: says in sentence,
            deadline=deadlines.current().pod_ready,
            expecting="the kubelet to tell of the failing probe",
        )

    found = shop.explain(service)

    assert found.first_broken == word, found.to_json()
    assert says in found.sentence
    assert found.try_


@pytest.mark.parametrize("service", SOUND)
def test_a_sound_service_is_proved_so(shop: Shop, service: str) -> None:
    """Every layer holds, and was asked."""
    found = shop.explain(service)

    assert found.first_broken == "none", found.to_json()


@pytest.mark.parametrize("from_", ["pod", "node", "outside"])
def test_it_is_asked_from_where_one_wants(shop: Shop, from_: Any) -> None:
    """A node port is reached from a Pod, from each node, and from outside."""
    found = shop.explain("node-port", from_)

    assert found.first_broken == "none", found.to_json()
    assert {"pod": "a Pod", "node": "3 nodes", "outside": "outside"}[from_] == found.asked_from


def test_an_address_that_a_node_does_not_reach(shop: Shop) -> None:
    """The rules are right, but one node has no route to them: said of that node."""
    lab = shop.lab
    address = lab.service("sound").cluster_ip
    node = lab.cluster.nodes[0].name
    lab.cluster.docker_exec(node, "ip", "route", "add", "unreachable", f"{address}/32")
    try:
        found = shop.explain("sound")
    finally:
        lab.cluster.docker_exec(node, "ip", "route", "del", "unreachable", f"{address}/32")

    assert found.first_broken == "rules", found.to_json()
    assert f"asked from node {node}, gives 2 of 2 unreachable" in found.sentence


@pytest.mark.disruptive
def test_a_kube_proxy_that_stands_still(lab: Lab, cluster: Cluster, restored_cluster: None) -> None:
    """A node whose kube-proxy no longer follows is named, with what its rules lack."""
    node = cluster.nodes[-1].name
    pid = cluster.docker_exec(node, "pgrep", "-x", "kube-proxy").strip()
    cluster.docker_exec(node, "kill", "-STOP", pid)
    try:
        lab.kubectl("create", "deployment", "late", f"--image={pins().probe_image}", "--port=80",
                    "--", "python3", "-m", "http.server", "80")  # fmt: skip
        lab.kubectl("expose", "deployment", "late")
        lab.ready_pods("app=late", 1)
        found = explain(Access(cluster), lab.namespace, "late")
    finally:
        cluster.docker_exec(node, "kill", "-CONT", pid)

    assert found.first_broken == "rules", found.to_json()
    assert f"the rules of {node} are not what the EndpointSlices ask for" in found.sentence


def test_nothing_is_changed(shop: Shop) -> None:
    """Explaining leaves every object of the namespace as it was, and no Pod of its own behind."""

    def versions() -> set[str]:
        listed = shop.lab.kubectl_json("get", "pods,services,endpointslices,deployments")
        return {f"{each['metadata']['uid']} {each['metadata']['resourceVersion']}"
                for each in listed["items"]}  # fmt: skip

    before = versions()
    shop.explain("sound", "pod")

    assert versions() == before
    core = shop.lab.core
    left = [
        pod.metadata.name
        for pod in core.list_namespaced_pod("servicelab-system").items
        if pod.metadata.name.startswith("explain-") and not pod.metadata.deletion_timestamp
    ]
    assert left == []


def test_the_light_walk_is_quick(shop: Shop) -> None:
    """Beside a failed test it takes at most 2 s, and comes to the same word."""
    explain_lightly(shop.access, shop.lab.namespace, "sound")  # opens the channels

    found = [explain_lightly(shop.access, shop.lab.namespace, service) for service, *_ in BROKEN]

    assert [each.first_broken for each in found] == [word for _, word, _ in BROKEN]
    # Not the slowest: a machine that is busy elsewhere is no fault of the walk.
    assert sorted(each.seconds for each in found)[len(found) // 2] < LIGHT


def test_beside_a_failure_the_layer_is_noted_in_time(shop: Shop) -> None:
    """The Service that the message names is walked, and the deadline is kept."""
    message = f"Service {shop.lab.namespace}/wrong-port should answer"

    began = time.monotonic()
    broken_layers([shop.lab], message)
    took = time.monotonic() - began
    before = deadlines.use(deadlines.parse(["layers_walked=15"]))
    (note,) = broken_layers([shop.lab], message)
    deadlines.use(before)

    assert took < deadlines.current().layers_walked.seconds + 0.5
    assert note.startswith("first broken layer: targetPort: Service wrong-port: "), note


@pytest.fixture
def elsewhere(cluster: Cluster) -> Iterator[Access]:
    """The same cluster by its kubeconfig alone, as if somebody else had made it."""
    access = any_cluster(None, cluster.kubeconfig_path)
    yield access
    access.cluster.close()


def test_a_cluster_that_is_not_ours(shop: Shop, elsewhere: Access) -> None:
    """Where there are probes it is asked as ours is; rules are read in kube-proxy's Pods."""
    found = explain(elsewhere, shop.lab.namespace, "sound")

    assert found.first_broken == "none", found.to_json()
    (rules,) = (layer for layer in found.layers if layer.word == "rules")
    assert "the rules of 3 nodes say what the EndpointSlices say" in rules.seen


def test_a_cluster_without_probes(
    shop: Shop, elsewhere: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server asks the Pods, so that a dead port is found; the rest is said not to be."""
    monkeypatch.setattr("servicelab.explain.reading.PROBE_SELECTOR", "app=nobody")

    sound = explain(elsewhere, shop.lab.namespace, "sound")
    wrong = explain(elsewhere, shop.lab.namespace, "wrong-port")

    assert (sound.first_broken, sound.exit_code) == (None, 3), sound.to_json()
    assert "dns and rules not asked: " in sound.sentence
    assert wrong.first_broken == "targetPort", wrong.to_json()
    assert "refuses 8000/TCP" in wrong.sentence or "refuse 8000/TCP" in wrong.sentence


@pytest.mark.parametrize(
    ("service", "code", "says"),
    [("sound", 0, '"first_broken": "none"'), ("apricot", 1, '"first_broken": "labels"'),
     ("soundd", 2, "there is no Service"), ("wrong-selector --from outside", 2, "--from pod")],
)  # fmt: skip
def test_the_command(shop: Shop, cluster: Cluster, service: str, code: int, says: str) -> None:
    """`servicelab explain` prints JSON and ends with 0 for none, 1 for a broken layer, 2 else."""
    name, *options = service.split()
    done = subprocess.run(
        [sys.executable, "-m", "servicelab", "explain", f"{shop.lab.namespace}/{name}", "--json",
         "--cluster-name", cluster.name, *options],
        capture_output=True, text=True, check=False, cwd=Path.cwd(),
    )  # fmt: skip

    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    if code < 2:
        assert len(json.loads(done.stdout)["layers"]) == 11
