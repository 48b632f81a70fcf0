"""A node's rules as the kernel's own tools print them: for people, and as evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servicelab.errors import UsageError

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

#: What prints all that kube-proxy made in a mode. Counters show where packets went.
_COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "iptables": (("iptables-save", "--counters"),),
    "nftables": (("nft", "list", "table", "ip", "kube-proxy"),),
    "ipvs": (
        ("ipvsadm", "--list", "--numeric"),
        ("ipset", "list"),
        ("iptables-save", "--counters", "--table", "nat"),
    ),
}


def printed_rules(cluster: Cluster, node_name: str, mode: str) -> str:
    """What a node's kernel holds for Services, each listing below the command that printed it.

    Args:
        cluster: the cluster.
        node_name: the node, as Kubernetes calls it.
        mode: kube-proxy's mode.

    Raises:
        UsageError: there is no such mode.
        InfrastructureError: the node can't be asked, or has no such tool.
    """
    if mode not in _COMMANDS:
        raise UsageError(
            f"nothing is known that prints the rules of {mode} mode",
            remedy=f"use one of {', '.join(_COMMANDS)}",
        )
    return "\n".join(
        f"# {node_name}: {' '.join(argv)}\n{cluster.docker_exec(node_name, *argv)}"
        for argv in _COMMANDS[mode]
    )
