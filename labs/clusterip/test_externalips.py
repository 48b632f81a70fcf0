"""externalIPs: a Service on an address that Kubernetes did not give."""

from __future__ import annotations

from servicelab import claim, eventually
from servicelab.verdict import deadlines

EXTERNAL_IP = "198.51.100.80"


@claim("XIP-01")
def test_an_external_ip_answers_at_a_node_that_it_is_routed_to(own_web, nodes, outside):
    """A host that routes the external address to any node is answered by the Service."""
    assert outside.get(f"http://{EXTERNAL_IP}:8080").error == "unreachable"
    own_web.lab.apply("external.yaml")

    for node in nodes:
        outside.add_route(f"{EXTERNAL_IP}/32", node.ip)
        try:
            replies = eventually(
                lambda: outside.web(EXTERNAL_IP, 8080, times=3),
                lambda replies: replies.ok,
                deadline=deadlines.current().service_reachable,
                expecting=f"the external address to be answered at {node.name}",
                asked_from=outside.name,
            )
        finally:
            outside.del_route(f"{EXTERNAL_IP}/32")

        assert set(replies.pods) <= own_web.pod_names
