"""The Service rules of a node, read from its kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servicelab.errors import UsageError
from servicelab.observe.iptables import parse_iptables
from servicelab.observe.nftables import parse_nftables
from servicelab.observe.rules import ServiceRule

if TYPE_CHECKING:
    from servicelab.cluster import Cluster


def read_rules(cluster: Cluster, node: str) -> list[ServiceRule]:
    """The rules of the proxy mode in force, on one node.

    Args:
        cluster: the cluster; its mode says where to look.
        node: the node's name.

    Raises:
        UnreadableRules: they are not as kube-proxy writes them.
        InfrastructureError: the node can't be asked.
        UsageError: rules of this mode can't be read.
    """
    if cluster.mode == "iptables":
        # Both tables in one call: what has backends stands in nat, what is rejected in filter.
        return parse_iptables(cluster.docker_exec(node, "iptables-save"))
    if cluster.mode == "nftables":
        return parse_nftables(
            cluster.docker_exec(node, "nft", "-j", "list", "table", "ip", "kube-proxy")
        )
    raise UsageError(f"the rules of {cluster.mode} mode can't be read")
