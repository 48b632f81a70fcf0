"""Layer 2: one node answers for a Service's address, and a host outside finds it by ARP."""

from __future__ import annotations

import re

from servicelab import claim
from servicelab.metallb import vip

PINGS = 3
PATIENCE = 0.5
"""Seconds to wait for an echo, which takes less than a millisecond."""


@claim("LB-04")
def test_one_node_answers_arp_and_it_is_the_announcer(web, outside, neighbours):
    """The address answers from outside; exactly the announcer of the event claims it in ARP."""
    announcer = vip.wait_for_announcer(web.service)

    claimants = neighbours.claimants(web.address)
    assert claimants == [announcer], (
        f"the event names {announcer}, ARP for it is answered by {len(claimants)}: {claimants}"
    )

    replies = outside.web(web.url, times=5)
    assert replies.ok, f"the address does not answer outside: {replies}"
    assert set(replies.pods) <= web.pod_names, "a stranger answers at the address"


def refused_by_kube_proxy(web, nodes) -> bool:
    """In IPVS mode: does each node refuse what goes to the address and to no port of a Service?"""
    rule = re.compile(r"-A KUBE-IPVS-FILTER .*--match-set KUBE-IPVS-IPS dst -j REJECT")
    cluster = web.lab.cluster
    return all(
        rule.search(cluster.docker_exec(node, "iptables-save", "-t", "filter"))
        and f" {web.address}\n" in cluster.docker_exec(node, "ipset", "save", "KUBE-IPVS-IPS")
        for node in nodes
    )


@claim("LB-05")
def test_ping(web, nodes, outside, verdict):
    """An echo comes back where some node has the address on an interface, and only there."""
    control = outside.ping(nodes[0].ip)
    assert control.ok, f"not even a node answers a ping: {control.outcome}"

    echoes = [outside.ping(web.address, timeout=PATIENCE) for _ in range(PINGS)]

    holders = [node.name for node in nodes if web.address in node.interfaces().addresses]
    echoed = [echo for echo in echoes if echo.ok]
    have = f"{', '.join(holders)} have the address on an interface"
    refused = all(echo.error == "refused" for echo in echoes)
    if holders and refused and refused_by_kube_proxy(web, holders):
        verdict.changed(
            f"since Kubernetes 1.27 kube-proxy refuses a ping: {have}, and it ends with refused"
        )
    elif holders:
        assert len(echoed) == PINGS, f"{have}, but: {echoes[0].outcome}"
        verdict.holds(have)
    else:
        assert not echoed, (
            f"no nodes have the address on an interface, but there is an {echoed[0].outcome}"
        )
        verdict.false(f"the address is on no interface, and a ping ends with {echoes[0].error}")


@claim("LB-12")
def test_three_services_in_one(web, cluster, outside, nodes):
    """It answers at its external address, at each node's port and at its ClusterIP."""
    node_port = web.service.node_port
    assert node_port is not None, "the LoadBalancer Service has no node port"
    asked = [(outside, web.url), (nodes[0], web.service.url)]
    asked += [(outside, node.url(node_port)) for node in cluster.nodes]

    for place, url in asked:
        replies = place.web(url, times=3)
        assert replies.ok, f"{url} does not answer {place.name}: {replies}"
        assert set(replies.pods) <= web.pod_names, f"a stranger answers at {url}"


@claim("LB-13")
def test_no_cloud_is_needed(web, cluster, outside, verdict):
    """On nodes that are containers the Service has an address that answers from outside."""
    providers = {
        (node.spec.provider_id or "none").partition(":")[0]
        for node in web.lab.core.list_node().items
    }
    assert providers == {"kind"}, f"these nodes are of {providers}"

    replies = outside.web(web.url, times=5)
    assert replies.ok, f"the address does not answer outside: {replies}"
    assert set(replies.pods) <= web.pod_names, "a stranger answers at the address"

    verdict.false(f"{len(cluster.nodes)} containers on one machine, and {web.address} answers")
