"""The walk's last steps: a pool's address, its announcer, and ARP."""

from __future__ import annotations

from typing import Any

import pytest

from servicelab.explain.answers import Answers, ArpSeen, Asked, Place, Question
from servicelab.explain.arp import arp_layer
from servicelab.explain.load_balancer import metallb_layer
from servicelab.explain.policy import policy_layer
from servicelab.explain.snapshot import MetalLB, Snapshot

IP = "172.18.255.1"
MAC = "02:42:ac:12:00:03"
OUTSIDE = Place("outside", "outside", "", "172.18.0.9")
Json = dict[str, Any]


def pod(component: str, node: str = "worker", *, ready: bool = True) -> Json:
    """A Pod of MetalLB's."""
    condition = {"type": "Ready", "status": str(ready)}
    return {
        "metadata": {"name": component, "labels": {"app": "metallb", "component": component}},
        "spec": {"nodeName": node, "containers": [{"name": component}]},
        "status": {"phase": "Running", "conditions": [condition]},
    }


POOL: Json = {"metadata": {"name": "pool"}, "spec": {"addresses": ["172.18.255.1-172.18.255.3"]}}
L2: Json = {"metadata": {"name": "l2"}, "spec": {}}
READY = {"type": "Ready", "status": "True"}
NODES = (
    {
        "metadata": {
            "name": "control-plane",
            "labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""},
        },
        "status": {"conditions": [READY]},
    },
    {"metadata": {"name": "worker"}, "status": {"conditions": [READY]}},
)


def snapshot(ip: str = IP, metallb: Json | None = None, **more: Any) -> Snapshot:
    """A Service of type LoadBalancer that is as it should be, but for the changes."""
    sound = {
        "pools": (POOL,),
        "l2": (L2,),
        "pods": (pod("controller"), pod("speaker")),
        "announcers": (
            {"status": {"node": "worker", "serviceName": "web", "serviceNamespace": "shop"}},
        ),
        "known": True,
    }
    ingress = [{"ip": ip}] if ip else []
    fields: Json = {
        "nodes": NODES,
        "macs": {MAC: "worker"},
        "subnets": ("172.18.0.0/16",),
        "metallb": MetalLB(**(sound | (metallb or {}))),
        **more,
    }
    spec = {"type": "LoadBalancer", "clusterIP": "10.96.0.7", **fields.pop("spec", {})}
    service = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": spec,
        "status": {"loadBalancer": {"ingress": ingress}},
    }
    return Snapshot(service=service, **fields)


REFUSAL = {
    "reason": "AllocationFailed",
    "message": 'Failed to allocate IP for "shop/web": no available IPs',
    "involvedObject": {"kind": "Service", "name": "web"},
}


@pytest.mark.parametrize(
    ("s", "says"),
    [
        (
            snapshot("", {"known": False, "pods": (), "pools": ()}),
            "no load balancer is installed here",
        ),
        (snapshot("", {"pods": (pod("controller", ready=False),)}), "controller, which gives the"),
        (snapshot("", {"pools": ()}), "has no IPAddressPool"),
        (snapshot("", events=(REFUSAL,)), "no available IPs; it has the pool pool (172.18.255.1-"),
        (snapshot("", spec={"loadBalancerClass": "acme.example/lb"}), "class acme.example/lb"),
        (snapshot(""), "does not say why"),
        (snapshot("172.18.255.9"), "is in no IPAddressPool"),
        (snapshot(metallb={"l2": ()}), "no L2Advertisement and no BGPAdvertisement is for"),
        (
            snapshot(metallb={"l2": ({**L2, "spec": {"ipAddressPools": ["other"]}},)}),
            "(l2 names others)",
        ),
        (snapshot(metallb={"pods": (pod("controller"),)}), "no speaker of MetalLB that may"),
        (
            snapshot(metallb={"pods": (pod("controller"), pod("speaker", "control-plane"))}),
            "no speaker of MetalLB that may",
        ),
        (snapshot(subnets=("172.19.0.0/16",)), "take the pool from that range"),
    ],
)
def test_metallb_is_broken(s: Snapshot, says: str) -> None:
    """No address, or one that nobody announces."""
    found = metallb_layer(s)

    assert found.is_broken, found
    assert says in found.sentence


def test_metallb_holds() -> None:
    """An address of a pool that a speaker announces."""
    assert metallb_layer(snapshot()).seen == f"{IP} of the pool pool, announced by worker"


def test_an_address_of_somebody_else_is_left_alone() -> None:
    """Without MetalLB's kinds, another load balancer gave it."""
    assert not metallb_layer(snapshot(metallb={"known": False})).is_broken


def arp(*macs: str) -> Asked:
    """What ARP says."""
    return Asked(places=(OUTSIDE,), arp=(ArpSeen(IP, macs),))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (arp(), f"nobody in the cluster's network answers ARP for {IP}"),
        (arp("02:42:00:00:00:01"), "1 host answers ARP for 172.18.255.1 (no node), and only"),
        (arp(MAC, "02:42:00:00:00:01"), "2 hosts answer ARP"),
    ],
)
def test_arp_is_broken(asked: Asked, says: str) -> None:
    """Nobody answers, or somebody else than the announcer."""
    found = arp_layer(snapshot(), asked)

    assert found.is_broken, found
    assert says in found.sentence


def test_arp_holds_if_the_announcer_answers() -> None:
    """Its MAC address is that of the node that MetalLB names."""
    assert arp_layer(snapshot(), arp(MAC)).seen == f"{IP} is at {MAC} (worker)"


def test_arp_that_nobody_asked_is_not_taken_for_sound() -> None:
    """Without a host outside it stays open; asked for from a node it plays no part."""
    node = Place("worker", "node", "worker")
    told = arp_layer(snapshot(), Asked(places=(node,), outside_why_not="no host outside"))

    assert (told.state, told.seen) == ("not asked", "no host outside")
    assert arp_layer(snapshot(), Asked(places=(node,))).state == "does not apply"


def test_a_source_range_that_leaves_the_client_out_is_a_policy() -> None:
    """loadBalancerSourceRanges drops what comes from elsewhere."""
    s = snapshot(spec={"loadBalancerSourceRanges": ["10.0.0.0/8"]})
    question = Question("loadbalancer", IP, 80, "TCP")
    asked = Asked(places=(OUTSIDE,), service=(Answers(OUTSIDE, question, errors={"timeout": 1}),))

    found = policy_layer(s, asked)

    assert found.is_broken
    assert "172.18.0.9, which asked, is not among them" in found.sentence
