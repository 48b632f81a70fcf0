"""What is asked from where, and on which node it is translated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servicelab.errors import UsageError
from servicelab.explain.answers import Place
from servicelab.explain.places import Asker
from servicelab.explain.snapshot import Snapshot
from servicelab.trace.target import asker_among, check_place, port_asked, target_of
from servicelab.vantage.arp import ArpAnswer, ArpReply, ArpRequest

NODES = ("lab-control-plane", "lab-worker", "lab-worker2")
POOL = "172.30.0.200"


class Asking:
    """A vantage point whose neighbours say who has an address."""

    def __init__(self, mac: str = "", role: str = "worker") -> None:
        self.mac = mac
        self.role = role

    def ask(self, requests: list[ArpRequest]) -> list[ArpReply]:
        answers = (ArpAnswer(self.mac, 0.001),) if self.mac else ()
        return [ArpReply(request=requests[0], answers=answers)]


def snapshot(**spec: Any) -> Snapshot:
    """A Service of three nodes' cluster."""
    ports = [
        {"name": "web", "port": 80, "nodePort": 30080},
        {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053},
        {"name": "old", "port": 9, "protocol": "SCTP"},
    ]
    given = spec.pop("given", ())
    return Snapshot(
        service={
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.9", "ports": ports, **spec},
            "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in given]}},
        },
        nodes=tuple(
            {
                "metadata": {
                    "name": name,
                    "labels": {"node-role.kubernetes.io/control-plane": ""} if not at else {},
                },
                "status": {"addresses": [{"type": "InternalIP", "address": f"172.30.0.{at + 2}"}]},
            }
            for at, name in enumerate(NODES)
        ),
        macs={"02:00:00:00:00:01": "lab-worker2"},
    )


def asker(kind: Any, node: str = "", mac: str = "") -> Asker:
    """A place."""
    return Asker(Place("client", kind, node, "10.244.1.9"), Asking(mac))  # type: ignore[arg-type]


def test_a_pods_packet_is_translated_on_the_pods_node() -> None:
    """It comes to the node's rules from elsewhere: prerouting."""
    s = snapshot()

    target = target_of(s, port_asked(s, None), asker("pod", "lab-worker2"), None)

    assert (str(target.address), target.node) == ("10.96.0.9:80", "lab-worker2")
    assert (target.kind, target.enters, target.protocol) == ("cluster", "prerouting", "tcp")
    assert "the node that it runs on, lab-worker2" in target.why


def test_a_nodes_own_packet_takes_the_way_out() -> None:
    """Output, on the node itself."""
    s = snapshot()

    target = target_of(s, port_asked(s, "dns"), asker("node", "lab-worker"), None)

    assert (target.node, target.enters, target.protocol) == ("lab-worker", "output", "udp")


@pytest.mark.parametrize("node", [None, "lab-control-plane"])
def test_a_node_port_is_translated_on_the_node_that_is_asked(node: str | None) -> None:
    """Any node would do; a worker is taken unless one is named."""
    s = snapshot(type="NodePort")

    target = target_of(s, port_asked(s, 80), asker("outside"), node)

    expected = ("172.30.0.2:30080", "lab-control-plane") if node else ("172.30.0.3:30080", NODES[1])
    assert (str(target.address), target.node) == expected
    assert target.kind == "node"


def test_a_load_balancers_address_leads_to_the_node_that_answers_arp() -> None:
    """Whoever answers gets the packets."""
    s = snapshot(type="LoadBalancer", given=[POOL])

    target = target_of(s, port_asked(s, 80), asker("outside", mac="02:00:00:00:00:01"), None)
    nowhere = target_of(s, port_asked(s, 80), asker("outside"), None)
    by_node = target_of(s, port_asked(s, 80), asker("outside"), "lab-worker")

    assert (target.kind, target.node) == ("loadbalancer", "lab-worker2")
    assert "answers ARP" in target.why
    assert nowhere.node == ""
    assert "no node answers ARP" in nowhere.why
    assert by_node.kind == "node"


def test_a_load_balancer_without_address_and_node_port_is_refused() -> None:
    """There is nothing to ask from outside."""
    s = snapshot(type="LoadBalancer", ports=[{"port": 80}])

    with pytest.raises(UsageError, match="neither a load balancer's address nor a node port"):
        target_of(s, port_asked(s, 80), asker("outside"), None)


def test_a_cluster_ip_is_out_of_reach_from_outside() -> None:
    """Said in a sentence with the address."""
    with pytest.raises(UsageError, match=r"no route to its address 10\.96\.0\.9.*--from pod"):
        check_place(snapshot(), "outside", None)


def test_a_node_that_is_not_there_is_refused() -> None:
    """With those that are."""
    with pytest.raises(UsageError, match=r"no node 'gone'.*lab-worker2"):
        check_place(snapshot(), "node", "gone")


def test_a_service_with_ipv6_only_is_refused() -> None:
    """The rules of the other family are others."""
    s = snapshot(clusterIP="fd00::9", clusterIPs=["fd00::9"])

    with pytest.raises(UsageError, match="no IPv4 address"):
        check_place(s, "pod", None)


@pytest.mark.parametrize("kind", ["headless", "alias"])
def test_what_has_no_address_is_left_to_dns(kind: str) -> None:
    """It is no error to trace it, from wherever."""
    spec = {"clusterIP": "None"} if kind == "headless" else {"type": "ExternalName"}

    check_place(snapshot(**spec), "outside", None)


@pytest.mark.parametrize(
    ("wanted", "says"), [("81", "no port 81; it has"), ("old", "speaks SCTP"), (9, "speaks SCTP")]
)
def test_a_port_that_can_not_be_asked_is_refused(wanted: Any, says: str) -> None:
    """By number or name."""
    with pytest.raises(UsageError, match=says):
        port_asked(snapshot(), wanted)


def test_a_service_without_ports_is_refused() -> None:
    """kube-proxy makes no rule for it."""
    with pytest.raises(UsageError, match="has no ports"):
        port_asked(snapshot(ports=[]), None)


def test_a_worker_is_asked_from_unless_a_node_is_named() -> None:
    """The control plane has fewer Pods to tell of."""
    nodes = tuple(
        Asker(
            Place(name, "node", name),
            Asking(role="worker" if at else "control-plane"),  # type: ignore[arg-type]
        )
        for at, name in enumerate(NODES)
    )

    assert asker_among(nodes, None).place.node == "lab-worker"
    assert asker_among(nodes, NODES[0]).place.node == NODES[0]
    outside = replace(nodes[0], place=Place("outside", "outside"))
    assert asker_among((outside,), "lab-worker2") == outside
