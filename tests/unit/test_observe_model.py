"""The rules of real nodes, recorded in both modes, as one model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from servicelab.observe.iptables import parse_iptables
from servicelab.observe.model import Backend, ServiceRule, rules_for
from servicelab.observe.nftables import parse_nftables

SAMPLES = Path(__file__).parent / "rules"
ON_WORKER = ("10.244.1.2", "10.244.1.3")
ALL = (*ON_WORKER, "10.244.2.2")

Rules = Callable[[str, str], tuple[ServiceRule, ...]]


@pytest.fixture(params=["iptables", "nftables"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both modes' recordings show the same Services."""
    return str(request.param)


@pytest.fixture
def rules(mode: str) -> Rules:
    """The rules of one Service on one node."""

    def read(node: str, service: str) -> tuple[ServiceRule, ...]:
        if mode == "iptables":
            found = parse_iptables((SAMPLES / f"iptables-{node}.txt").read_text())
        else:
            found = parse_nftables((SAMPLES / f"nftables-{node}.json").read_text())
        return rules_for(found, "observe", service)

    return read


def backends(*ips: str, port: int = 80) -> tuple[Backend, ...]:
    return tuple(Backend(ip, port, 1 / len(ips)) for ip in ips)


def test_each_port_of_a_service_has_its_own_equal_backends(rules: Rules) -> None:
    """Two ports, one of them UDP, each with three backends of one third each."""
    http, udp = rules("worker", "web")

    assert (http.kind, http.protocol, http.port, http.port_name) == ("cluster", "TCP", 80, "http")
    assert (udp.kind, udp.protocol, udp.port, udp.port_name) == ("cluster", "UDP", 8081, "udp")
    assert http.ip == udp.ip != ""
    assert http.backends == backends(*ALL)
    assert udp.backends == backends(*ALL, port=8081)
    assert http.chooser == udp.chooser == "random"
    assert (http.affinity_seconds, http.affinity_by) == (None, "")


def test_affinity_lasts_as_long_as_the_service_says(rules: Rules, mode: str) -> None:
    """ClientIP affinity of 10 seconds: in recent's lists, or in a set per endpoint."""
    (rule,) = rules("worker", "sticky")

    assert rule.affinity_seconds == 10
    assert rule.affinity_by == {"iptables": "recent", "nftables": "set"}[mode]
    assert rule.port_name == ""
    assert rule.backends == backends(*ALL)
    assert rule.chooser == "random"


def test_a_service_without_endpoints_rejects(rules: Rules) -> None:
    """Both its cluster IP and its node port answer with an error."""
    cluster, node = rules("worker", "lonely")

    assert (cluster.kind, cluster.port) == ("cluster", 80)
    assert (node.kind, node.ip, node.port) == ("node", "", 30081)
    assert cluster.rejects
    assert node.rejects
    assert cluster.backends == node.backends == ()
    assert not cluster.drops
    assert cluster.chooser == node.chooser == ""


def test_a_node_port_leads_to_all_backends(rules: Rules) -> None:
    """On a node without any of the Service's Pods too."""
    for name in ("worker", "control-plane"):
        cluster, node = rules(name, "door")

        assert (node.kind, node.ip, node.port, node.protocol) == ("node", "", 30080, "TCP")
        assert node.backends == cluster.backends == backends(*ALL)


def test_an_external_ip_is_its_own_rule(rules: Rules) -> None:
    """Beside the cluster IP, with the same backends."""
    cluster, external = rules("worker", "outside")

    assert (external.kind, external.ip, external.port) == ("external", "198.51.100.7", 80)
    assert external.backends == cluster.backends == backends(*ALL)


def test_a_load_balancers_address_behind_source_ranges(rules: Rules) -> None:
    """Cluster IP, load balancer and node port, told apart."""
    cluster, balancer, node = rules("worker", "balanced")

    assert [cluster.kind, balancer.kind, node.kind] == ["cluster", "loadbalancer", "node"]
    assert balancer.ip == "198.51.100.9"
    assert cluster.backends == balancer.backends == node.backends == backends(*ALL)


def test_local_policies_keep_to_the_nodes_own_backends(rules: Rules) -> None:
    """Two of the three Pods run on this node."""
    for rule in rules("worker", "local"):
        assert rule.backends == backends(*ON_WORKER)
        assert not rule.drops


def test_local_policies_drop_where_no_backend_is(rules: Rules) -> None:
    """A node without any Pod of the Service drops; that isn't a reject."""
    found = rules("control-plane", "local")

    assert [rule.kind for rule in found] == ["cluster", "node"]
    for rule in found:
        assert rule.drops
        assert not rule.rejects
        assert rule.backends == ()


def test_emptied_chains_of_former_endpoints_are_no_backends() -> None:
    """nftables: after scaling down to one Pod, only that one is left; nothing is chosen."""
    found = parse_nftables((SAMPLES / "nftables-one-endpoint.json").read_text())

    (sticky,) = rules_for(found, "observe", "sticky")
    (http, _) = rules_for(found, "observe", "web")
    assert sticky.backends == http.backends == backends("10.244.2.2")
    assert sticky.chooser == http.chooser == ""
    assert sticky.affinity_seconds == 10


def test_both_modes_say_the_same_but_for_addresses_and_memory() -> None:
    """The recordings are of two clusters with the same Services, so only addresses differ."""

    def shape(found: tuple[ServiceRule, ...]) -> list[tuple[object, ...]]:
        return [
            (r.service, r.port_name, r.protocol, r.kind, r.port, r.backends, r.chooser, r.rejects)
            for r in found
            if r.namespace == "observe"
        ]

    for node in ("worker", "control-plane"):
        iptables = parse_iptables((SAMPLES / f"iptables-{node}.txt").read_text())
        nftables = parse_nftables((SAMPLES / f"nftables-{node}.json").read_text())
        assert shape(iptables) == shape(nftables) != []


def test_protocols_may_be_numbers() -> None:
    """nft prints IANA's numbers where it finds no /etc/protocols."""
    text = (SAMPLES / "nftables-worker.json").read_text()
    numbers = text.replace('"tcp"', "6").replace('"udp"', "17")

    assert numbers != text
    assert parse_nftables(numbers) == parse_nftables(text)


def test_rules_for_takes_one_service_of_one_namespace() -> None:
    """A Service of the same name elsewhere is another one."""
    mine = ServiceRule("a", "web", "", "TCP", "10.96.0.2", 80, "cluster")
    other = ServiceRule("b", "web", "", "TCP", "10.96.0.3", 80, "cluster")

    assert rules_for([mine, other], "a", "web") == (mine,)
