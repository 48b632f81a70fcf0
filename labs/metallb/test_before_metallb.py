"""A Service of type LoadBalancer where nobody balances loads."""

from __future__ import annotations

from servicelab import claim, consistently
from servicelab.metallb import vip
from servicelab.verdict import deadlines


@claim("LB-01")
def test_it_stays_pending_and_the_node_port_works(lab, cluster, outside):
    """No load balancer serves it: EXTERNAL-IP stays <pending>, and each node's port answers."""
    lab.apply("web.yaml")
    pods = lab.ready_pods("app=web", 2)
    web = lab.service("web")
    web.settles_on(pods)

    for node in cluster.nodes:
        replies = outside.web(node.url(web.node_port), times=3)
        assert replies.ok, f"the node port does not answer at {node.name}: {replies}"
        assert set(replies.pods) <= {pod.name for pod in pods}

    consistently(
        lambda: lab.kubectl("get", "service", "web", "--no-headers").split(),
        lambda row: row[3] == "<pending>" and row[4] == f"8090:{web.node_port}/TCP",
        for_=deadlines.current().stays_so,
        expecting="EXTERNAL-IP to stay <pending>",
        every=0.5,
        tell=" ".join,
    )
    assert vip.external_ips(web) == ()
