"""MetalLB on a real cluster: an address that is missing, not announced, or not answered for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servicelab.cluster import Cluster
from servicelab.explain import Access, Walk, explain
from servicelab.lab import Lab
from servicelab.metallb import MetalLB, metallb_in, vip
from servicelab.verdict import deadlines, eventually

pytestmark = pytest.mark.docker

POOL = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: [172.18.255.1-172.18.255.1]}
"""
ADVERTISED = """\
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: pool, namespace: metallb-system}
spec: {ipAddressPools: [pool]}
"""
ON_A_LINK_THAT_IS_NOT_THERE = """\
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: pool, namespace: metallb-system}
spec: {ipAddressPools: [pool], interfaces: [nothing0]}
"""
WEB = """\
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: web
      image: registry.k8s.io/e2e-test-images/agnhost:2.66.1
      args: [netexec, --http-port=80]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80}]
"""
SECOND = """\
apiVersion: v1
kind: Service
metadata: {name: second}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80}]
"""


@pytest.fixture(scope="module")
def metallb(cluster: Cluster) -> Iterator[MetalLB]:
    """MetalLB, for the tests of this file."""
    with metallb_in(cluster) as metallb:
        yield metallb


def stand_up(lab: Lab, metallb: MetalLB, advertisement: str) -> None:
    """A pool of one address, and a Service that has it."""
    metallb.pool_text(lab, POOL + advertisement)
    lab.apply_text(WEB)
    lab.service("web").settles_on(lab.ready_pods("app=web", 1))
    vip.wait_for_address(lab.service("web"))


def walk(lab: Lab, service: str = "web") -> Walk:
    """Explain a Service of the lab."""
    return explain(Access(lab.cluster), lab.namespace, service)


def test_an_address_that_answers_and_none_left(lab: Lab, metallb: MetalLB) -> None:
    """The first Service's address is proved by ARP and by requests; for a second there is none."""
    stand_up(lab, metallb, ADVERTISED)
    lab.apply_text(SECOND)

    sound = eventually(
        lambda: walk(lab),
        lambda found: found.first_broken == "none",
        deadline=deadlines.current().service_reachable,
        expecting="the address to be announced",
        tell=lambda found: found.sentence,
    )
    vip.wait_for_event(lab.service("second"), "AllocationFailed")
    second = walk(lab, "second")

    assert "announced by" in next(each.seen for each in sound.layers if each.word == "metallb")
    assert sound.asked_from == "3 nodes and outside"
    assert second.first_broken == "metallb", second.to_json()
    assert "no available IPs" in second.sentence


def test_an_address_that_nobody_announces(lab: Lab, metallb: MetalLB) -> None:
    """Without an advertisement for its pool, an address is of no use."""
    stand_up(lab, metallb, "")

    found = walk(lab)

    assert found.first_broken == "metallb", found.to_json()
    assert "no L2Advertisement and no BGPAdvertisement is for the pool" in found.sentence


def test_an_address_that_nobody_answers_for(lab: Lab, metallb: MetalLB) -> None:
    """Announced on a link that no node has: nobody answers ARP."""
    stand_up(lab, metallb, ON_A_LINK_THAT_IS_NOT_THERE)

    found = walk(lab)

    assert found.first_broken == "arp", found.to_json()
    assert "nobody in the cluster's network answers ARP for" in found.sentence
