"""In IPVS mode every node has the address on an interface, and Linux answers ARP for it."""

from __future__ import annotations

import pytest

from servicelab import claim, eventually
from servicelab.metallb import vip
from servicelab.metallb.strict_arp import forget_strict_arp
from servicelab.verdict import deadlines


@pytest.mark.disruptive
@claim("LB-06")
def test_without_strict_arp_every_node_answers(lab, expose, cluster, neighbours, verdict):
    """With strictARP only the announcer answers ARP for the address; without it every node does."""
    web = expose(lab, "web.yaml", "web")
    announcer = vip.wait_for_announcer(web.service)
    assert neighbours.claimants(web.address) == [announcer]

    lab.on_close(lambda: lab.kube_proxy.switch("ipvs", strict_arp=True))
    # kube-proxy never takes back what it has set: as if the nodes had started without it.
    forget_strict_arp(cluster)
    lab.kube_proxy.switch("ipvs", strict_arp=False)

    everybody = sorted(node.name for node in cluster.nodes)
    eventually(
        lambda: sorted(neighbours.claimants(web.address)),
        lambda claimants: claimants == everybody,
        deadline=deadlines.current().rules_programmed,
        expecting=f"every node to answer ARP for {web.address}",
        tell=lambda claimants: f"answers of {', '.join(claimants) or 'nobody'}",
    )
    verdict.holds(f"{announcer} alone with strictARP, {len(everybody)} nodes without it")
