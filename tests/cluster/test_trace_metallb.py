"""MetalLB on a real cluster: a load balancer's address is followed where it is announced."""

from __future__ import annotations

import pytest

from servicelab.cluster import Cluster
from servicelab.explain import Access
from servicelab.lab import Lab
from servicelab.metallb import metallb_in, vip
from servicelab.trace import trace
from servicelab.verdict import deadlines, eventually

pytestmark = pytest.mark.docker

POOL = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: [172.18.255.1-172.18.255.1]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: pool, namespace: metallb-system}
spec: {ipAddressPools: [pool]}
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


def test_a_load_balancers_address_is_translated_where_it_is_announced(
    lab: Lab, cluster: Cluster
) -> None:
    """From outside, the node that answers ARP translates; from a Pod, the Pod's own does."""
    with metallb_in(cluster) as metallb:
        metallb.pool_text(lab, POOL)
        lab.apply_text(WEB)
        service = lab.service("web")
        service.settles_on(lab.ready_pods("app=web", 1))
        vip.wait_for_address(service)

        found = eventually(
            lambda: trace(Access(cluster), lab.namespace, "web", "outside"),
            lambda trace: bool(trace.node),
            deadline=deadlines.current().service_reachable,
            expecting="a node to answer ARP for the address",
        )

    assert found.exit_code == 0, found.to_json()
    assert found.kind == "loadbalancer"
    assert f"{found.node} answers ARP" in found.why_node
    assert found.answered_by == "web"
    assert found.way.masqueraded
