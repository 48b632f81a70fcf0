"""BGP: a router learns a Service's address from the nodes, and leads traffic to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from servicelab import claim
from servicelab.bgp import BgpRouter, bgp_router
from servicelab.lab.manifests import read_manifest
from servicelab.metallb import vip
from servicelab.metallb.bgp_peers import mend_numbers

#: Nodes with this label serve no external load balancer; kubeadm gives it to the control plane.
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


@pytest.fixture
def router(cluster) -> Iterator[BgpRouter]:
    """A router beside the cluster, which waits for each node's speaker."""
    with bgp_router(cluster) as router:
        yield router


@contextmanager
def route(place, address: str, via: str) -> Iterator[None]:
    """A host outside that follows the router's table."""
    place.add_route(f"{address}/32", via)
    try:
        yield
    finally:
        place.del_route(f"{address}/32")


@claim("LB-11")
def test_a_router_learns_the_address_with_each_node_as_next_hop(
    lab, metallb, router, cluster, outside, verdict
):
    """It learns the address from the nodes, traffic follows, and it forgets it with the Service."""
    lab.apply("web.yaml")
    mended = mend_numbers(cluster)
    documents = read_manifest(lab.folder / "bgp.yaml")
    documents[0]["spec"] |= {
        "peerAddress": router.ip,
        "peerASN": router.asn,
        "myASN": router.cluster_asn,
    }
    metallb.pools.apply(lab, documents, addresses=1)
    service = lab.service("web")
    address = vip.wait_for_address(service)
    labels = {node.metadata.name: node.metadata.labels for node in lab.core.list_node().items}
    excluded = [node.name for node in cluster.nodes if EXCLUDED in labels[node.name]]
    serving = {node.ip for node in cluster.nodes if node.name not in excluded}

    # Without a ready Pod behind it, an address is announced by nobody.
    pods = lab.ready_pods("app=web", 2)
    router.wait_for_sessions([node.ip for node in cluster.nodes])
    router.wait_for_route(f"{address}/32", serving)

    service.settles_on(pods)
    for next_hop in sorted(router.routes()[f"{address}/32"]):
        with route(outside, address, next_hop):
            replies = outside.web(address, service.port(), times=3)
        assert replies.ok, f"the way by {next_hop} does not lead to the Service: {replies}"
        assert set(replies.pods) <= {pod.name for pod in pods}, f"a stranger behind {next_hop}"

    lab.delete_service("web")
    router.wait_for_route(f"{address}/32", [])

    conditions = [f"{name} is left out, it is labelled {EXCLUDED}" for name in excluded]
    if mended:
        conditions.append(f"{' and '.join(mended)} had to be made int64 in MetalLB's BGPPeer")
    seen = f"{address}/32 had the next hops {', '.join(sorted(serving))}"
    if conditions:
        verdict.holds_but(f"{seen}; {'; '.join(conditions)}")
    else:
        verdict.holds(seen)
