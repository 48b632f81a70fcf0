"""strictARP, which MetalLB's layer 2 needs where kube-proxy runs in IPVS mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

#: What kube-proxy sets for strictARP when it starts, and never takes back.
SETTINGS = ("net.ipv4.conf.all.arp_ignore", "net.ipv4.conf.all.arp_announce")


@contextmanager
def strict_arp(cluster: Cluster) -> Iterator[None]:
    """Set it for as long as the context lasts; in other modes, and on others' clusters, do nothing.

    Raises:
        InfrastructureError: kube-proxy does not come up with it, or without it.
    """
    if cluster.mode != "ipvs" or not cluster.ours:
        yield
        return
    cluster.switch_mode("ipvs", strict_arp=True)
    try:
        yield
    finally:
        if not cluster.going:
            forget_strict_arp(cluster)
            cluster.switch_mode("ipvs", strict_arp=False)


def forget_strict_arp(cluster: Cluster) -> None:
    """Set the nodes' kernels back to what they were before kube-proxy ran with strictARP.

    Raises:
        InfrastructureError: a node can't be asked.
    """
    for node in cluster.nodes:
        cluster.docker_exec(node.name, "sysctl", "-w", *(f"{name}=0" for name in SETTINGS))
