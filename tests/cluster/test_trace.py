"""On a real cluster, in each mode: a trace leads where the packet went, or is contradicted."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from servicelab.cluster import Cluster
from servicelab.errors import UsageError
from servicelab.explain import Access
from servicelab.explain.choosing import any_cluster
from servicelab.lab import Lab
from servicelab.trace import Trace, trace
from servicelab.trace.conntrack import Connection, Direction
from servicelab.trace.packet import Endpoint
from servicelab.vantage import HttpRequest
from servicelab.verdict import deadlines, eventually

pytestmark = pytest.mark.docker


@dataclass
class Shop:
    """trace.yaml in a namespace."""

    lab: Lab
    access: Access
    pods: dict[str, str]
    nodes: tuple[str, ...]

    def trace(self, service: str, from_: Any = "node", **details: Any) -> Trace:
        """Trace one of its Services."""
        return trace(self.access, self.lab.namespace, service, from_, **details)

    @property
    def mode(self) -> str:
        """kube-proxy's."""
        return str(self.lab.cluster.mode)


@pytest.fixture(scope="module")
def shop(shared_lab: Lab) -> Shop:
    """All the Services at once; none is changed."""
    text = (shared_lab.folder / "trace.yaml").read_text(encoding="utf-8")
    shared_lab.apply_text(text.replace("NAMESPACE", shared_lab.namespace))
    pods = shared_lab.ready_pods("app=web", 3)
    for name in ("door", "near", "sticky", "web"):
        shared_lab.service(name).settles_on(pods)
    return Shop(
        shared_lab,
        Access(shared_lab.cluster),
        {pod.ip: pod.name for pod in pods},
        tuple(sorted({pod.node for pod in pods})),
    )


def proofs(found: Trace) -> dict[str, bool | None]:
    """Each proof, and whether it agrees."""
    return {check.name: check.holds for check in found.checks}


def check_proved(found: Trace, shop: Shop) -> None:
    """The backend that the trace names is the Pod that answered, by every proof that there is."""
    assert found.exit_code == 0, found.to_json()
    assert found.backend is not None
    assert found.backend.pod == found.answered_by == shop.pods[found.backend.address.ip]
    assert found.connection is not None
    assert found.connection.backend == found.backend.address
    agree = proofs(found)
    assert agree["counters"] is (None if shop.mode == "nftables" else True), found.to_json()
    assert agree["kernel"] is True, found.to_json()
    assert agree["conntrack"] is agree["rules"] is agree["answer"] is True
    if shop.mode == "ipvs":
        assert agree["ip_vs"] is True, found.to_json()


@pytest.mark.parametrize("from_", ["pod", "node"])
def test_the_backend_is_the_pod_that_answered(shop: Shop, from_: str) -> None:
    """The Service's address, from a Pod and from a node, is translated on that node."""
    found = shop.trace("web", from_)

    check_proved(found, shop)
    assert found.node == found.place.node
    assert found.hops[0].hook == {"pod": "prerouting", "node": "output"}[from_]
    # What comes from a node is masqueraded, what comes from a Pod is not.
    assert found.way.masqueraded is (from_ == "node")
    assert found.connection is not None
    assert found.connection.masqueraded is (from_ == "node") or shop.mode == "ipvs"


def test_it_starts_where_one_wants(shop: Shop) -> None:
    """On each node its own rules are read."""
    for node in shop.nodes:
        found = shop.trace("web", "pod", node=node)

        check_proved(found, shop)
        assert (found.node, found.place.node) == (node, node)


def test_a_node_port_from_outside(shop: Shop) -> None:
    """It goes by the chain or set of node ports, and is masqueraded."""
    found = shop.trace("door", "outside")

    check_proved(found, shop)
    assert found.kind == "node"
    chains = " ".join(f"{hop.chain} {hop.matched}" for hop in found.hops)
    marks = {"iptables": "KUBE-EXT-", "nftables": "external-", "ipvs": "KUBE-NODE-PORT"}
    assert marks[shop.mode] in chains
    assert found.way.masqueraded


def test_a_local_policy_keeps_the_clients_address(shop: Shop) -> None:
    """externalTrafficPolicy: Local leads to a Pod of the node, which sees the client itself."""
    found = shop.trace("near", "outside", node=shop.nodes[0])

    check_proved(found, shop)
    assert found.backend is not None
    assert found.backend.node == shop.nodes[0]
    assert found.seen_as == found.place.ip
    assert not found.way.masqueraded


def test_a_node_without_an_endpoint_drops_it(shop: Shop) -> None:
    """With that policy, where no Pod runs nobody answers; the last hop says so."""
    if shop.mode == "ipvs":
        pytest.skip("in ipvs mode it is led to a Pod elsewhere, whose reply is not taken")
    (control_plane,) = (node.name for node in shop.access.cluster.nodes if node.role != "worker")

    found = shop.trace("near", "outside", node=control_plane)

    assert (found.way.end, found.exit_code) == ("dropped", 1), found.to_json()
    assert found.hops[-1].verdict == "drop"
    assert found.proved, found.to_json()


def test_udp(shop: Shop) -> None:
    """By the port's name."""
    found = shop.trace("talk", port="talk")

    check_proved(found, shop)
    assert found.protocol == "UDP"
    assert str(found.backend.address if found.backend else "").endswith(":5300")


def test_a_client_that_is_remembered(shop: Shop) -> None:
    """The second connection goes to the same Pod, because of the memory and not of the dice."""
    first, second = shop.trace("sticky"), shop.trace("sticky")

    check_proved(second, shop)
    assert first.backend == second.backend
    told = " ".join(hop.matched for hop in second.hops)
    marks = {"iptables": "came here within the last 10800 s", "nftables": "is remembered"}
    assert marks.get(shop.mode, "keeps a client with its real server") in told


@pytest.mark.parametrize("from_", ["pod", "node"])
def test_a_service_without_endpoints_is_refused(shop: Shop, from_: str) -> None:
    """The last hop is what refuses it."""
    found = shop.trace("lonely", from_)

    assert (found.way.end, found.exit_code) == ("rejected", 1), found.to_json()
    assert found.hops[-1].verdict == "reject"
    assert found.outcome == "refused"
    assert found.contradictions == ()


@pytest.mark.parametrize(
    ("service", "says"), [("headless", "of its 3 ready Pods"), ("alias", "another name")]
)
def test_dns_in_place_of_rules(shop: Shop, service: str, says: str) -> None:
    """A Service without an address needs no rule; what DNS says is the only hop."""
    found = shop.trace(service, "pod")

    assert (found.way.end, found.exit_code) == ("name", 0), found.to_json()
    assert "no rule is involved" in found.sentence
    assert says in found.sentence
    (hop,) = found.hops
    if service == "headless":
        assert all(ip in hop.rule for ip in shop.pods)


def test_a_cluster_ip_from_outside_is_refused_in_a_sentence(shop: Shop) -> None:
    """A host outside has no route there."""
    with pytest.raises(UsageError, match="a host outside has no route to its address"):
        shop.trace("web", "outside")


# Refuters: the trace must fail.


def test_a_trace_that_claims_another_endpoint_is_contradicted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were conntrack's entry another Pod's, the kernel's words and the Pod itself would object."""
    from servicelab.trace import judging

    genuine: Callable[[str], tuple[Connection, ...]] = judging.parse_conntrack

    def lying(text: str) -> tuple[Connection, ...]:
        return tuple(
            replace(each, reply=Direction(another(each.backend), each.reply.destination))
            if each.backend
            else each
            for each in genuine(text)
        )

    def another(right: Endpoint) -> Endpoint:
        return Endpoint(next(ip for ip in shop.pods if ip != right.ip), right.port)

    monkeypatch.setattr(judging, "parse_conntrack", lying)

    found = shop.trace("web")

    assert found.exit_code == 1, found.to_json()
    assert proofs(found)["answer"] is False
    if shop.mode != "ipvs":
        assert proofs(found)["kernel"] is False


@pytest.mark.disruptive
def test_a_service_whose_rule_was_removed_is_not_translated(
    lab: Lab, cluster: Cluster, restored_cluster: None
) -> None:
    """With the rule gone, behind kube-proxy's back, the trace says that none translated it."""
    if cluster.mode == "ipvs":
        pytest.skip("a virtual server that was removed can't be put back as it was")
    lab.apply_text((lab.folder / "trace.yaml").read_text("utf-8").replace("NAMESPACE", "x"))
    pods = lab.ready_pods("app=web", 3)
    lab.service("door").settles_on(pods)
    address = lab.service("door").cluster_ip
    node = cluster.nodes[-1].name

    with without_rule(cluster, node, address):
        found = trace(Access(cluster), lab.namespace, "door", "node", node=node)
    # kube-proxy may write the node's rules anew meanwhile, which sets their counters back.
    back = eventually(
        lambda: trace(Access(cluster), lab.namespace, "door", "node", node=node),
        lambda again: again.exit_code == 0,
        deadline=deadlines.current().rules_programmed,
        expecting="the Service to be translated again",
        tell=lambda again: str(again.to_json()),
    )

    # nftables refuses what is a Service's address, but none of its ports.
    assert found.way.end in ("untranslated", "rejected"), found.to_json()
    assert found.exit_code == 1
    assert proofs(found)["rules"] is False
    assert back.exit_code == 0, back.to_json()


@contextmanager
def without_rule(cluster: Cluster, node: str, address: str) -> Iterator[None]:
    """A node whose kube-proxy stands still, and whose rule for an address is away."""
    pid = cluster.docker_exec(node, "pgrep", "-x", "kube-proxy").strip()
    cluster.docker_exec(node, "kill", "-STOP", pid)
    away, back = taking_away(cluster, node, address)
    try:
        cluster.docker_exec(node, *away)
        try:
            yield
        finally:
            cluster.docker_exec(node, *back)
    finally:
        cluster.docker_exec(node, "kill", "-CONT", pid)


def taking_away(cluster: Cluster, node: str, address: str) -> tuple[list[str], list[str]]:
    """The commands that take a cluster IP's rule away, and put it back."""
    if cluster.mode == "iptables":
        saved = cluster.docker_exec(node, "iptables-save", "--table", "nat").splitlines()
        (line,) = (line for line in saved if line.startswith(f"-A KUBE-SERVICES -d {address}/32"))
        words = shlex.split(line)[1:]
        return (["iptables", "-t", "nat", "-D", *words], ["iptables", "-t", "nat", "-I", *words])
    listed = json.loads(
        cluster.docker_exec(node, "nft", "--json", "list", "map", "ip", "kube-proxy", "service-ips")
    )
    elements = next(item["map"]["elem"] for item in listed["nftables"] if "map" in item)
    (target,) = (
        verdict["goto"]["target"] for key, verdict in elements if address in json.dumps(key)
    )
    key = f"{address} . tcp . 80"
    command = ["nft", "{}", "element", "ip", "kube-proxy", "service-ips"]
    away = [*command, "{", key, "}"]
    back = [*command, "{", f"{key} : goto {target}", "}"]
    return (
        [word.replace("{}", "delete") for word in away],
        [word.replace("{}", "add") for word in back],
    )


# What it leaves, and the command.


def test_nothing_is_left_behind(shop: Shop) -> None:
    """No table, no unit and no Pod of ours; kube-proxy's rules are as they were."""
    shop.trace("web", "pod", node=shop.nodes[0])

    cluster = shop.access.cluster
    for node in cluster.nodes:
        tables = cluster.docker_exec(node.name, "nft", "list", "tables")
        units = cluster.docker_exec(
            node.name, "systemctl", "list-units", "--all", "--no-legend", "servicelab-trace-*"
        )
        assert "servicelab-trace" not in tables + units
    left = [
        pod.metadata.name
        for pod in shop.lab.core.list_namespaced_pod("servicelab-system").items
        if pod.metadata.name.startswith("explain-") and not pod.metadata.deletion_timestamp
    ]
    assert left == []


def test_a_request_that_fails_leaves_nothing_behind(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table goes also if the connection never comes about."""
    from servicelab.vantage import Vantage

    node = shop.nodes[0]
    seen = []
    ask = Vantage.ask

    def failing(self: Vantage, requests: Any, **details: Any) -> Any:
        # In ipvs mode the node's table is read through its probe, too.
        if not any(isinstance(each, HttpRequest) for each in requests):
            return ask(self, requests, **details)
        tables = shop.access.cluster.docker_exec(node, "nft", "list", "tables")
        seen.append("servicelab-trace" in tables)
        raise RuntimeError("no channel")

    monkeypatch.setattr(Vantage, "ask", failing)

    with pytest.raises(RuntimeError, match="no channel"):
        shop.trace("web", "node", node=node)

    assert seen == [True]
    assert "servicelab-trace" not in shop.access.cluster.docker_exec(node, "nft", "list", "tables")


def test_a_cluster_that_is_not_ours(shop: Shop, cluster: Cluster) -> None:
    """Its nodes are left unchanged: the kernel is not asked, the other proofs are."""
    if cluster.mode == "ipvs":
        pytest.skip("in ipvs mode the rules of others' nodes are not read")
    access = any_cluster(None, cluster.kubeconfig_path)
    try:
        found = trace(access, shop.lab.namespace, "web", "node")
    finally:
        access.cluster.close()

    assert found.exit_code == 0, found.to_json()
    assert proofs(found)["kernel"] is None
    assert proofs(found)["conntrack"] is True
    assert found.backend is not None
    assert found.backend.pod == found.answered_by


@pytest.mark.parametrize(
    ("service", "code", "says"),
    [("web", 0, '"proved": true'), ("lonely", 1, '"end": "rejected"'),
     ("webb", 2, "there is no Service"), ("web --from outside", 2, "--from pod"),
     ("web --port 81", 2, "no port 81"), ("web --html gone/x.html", 2, "no folder gone")],
)  # fmt: skip
def test_the_command(shop: Shop, cluster: Cluster, service: str, code: int, says: str) -> None:
    """`servicelab trace` prints JSON; 0 for a proved way to a Pod, 1 for none, 2 for a mistake."""
    name, *options = service.split()
    done = command(cluster, f"{shop.lab.namespace}/{name}", "--json", *options)

    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr


def test_the_drawing_and_the_page(shop: Shop, cluster: Cluster, tmp_path: Path) -> None:
    """The drawing names the Pod that answered, and so does the page."""
    page = tmp_path / "way.html"

    done = command(cluster, f"{shop.lab.namespace}/web", "--from", "node", "--html", str(page))

    assert done.returncode == 0, done.stderr
    (chosen,) = (line for line in done.stdout.splitlines() if line.startswith("╰─▶ ● "))
    pod = chosen.split()[2]
    assert pod in shop.pods.values()
    assert f"{pod} said that it answered" in page.read_text("utf-8")


def command(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command from a Pod's point of view unless told otherwise."""
    return subprocess.run(
        [sys.executable, "-m", "servicelab", "trace", "--cluster-name", cluster.name, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
