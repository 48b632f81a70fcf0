"""The rules of one node of a cluster, in the mode kube-proxy runs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from servicelab.errors import UsageError
from servicelab.observe.iptables import parse_iptables
from servicelab.observe.ipvs import read_ipvs
from servicelab.observe.model import ServiceRule
from servicelab.observe.nftables import parse_nftables
from servicelab.observe.unreadable import RulesUnreadable

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

Rules = tuple[ServiceRule, ...]


def _read_iptables(cluster: Cluster, node_name: str) -> Rules:
    return parse_iptables(cluster.docker_exec(node_name, "iptables-save"))


def _read_nftables(cluster: Cluster, node_name: str) -> Rules:
    argv = ("nft", "-j", "list", "table", "ip", "kube-proxy")
    return parse_nftables(cluster.docker_exec(node_name, *argv))


_READERS: dict[str, Callable[[Cluster, str], Rules]] = {
    "iptables": _read_iptables,
    "nftables": _read_nftables,
    "ipvs": read_ipvs,
}
# kube-proxy writes iptables' tables one after the other, within milliseconds: a reading that
# falls in between isn't whole, the next one is.
_READINGS = 3


def node_rules(cluster: Cluster, node_name: str, mode: str) -> tuple[ServiceRule, ...]:
    """What a node's kernel does with packets to Services.

    Args:
        cluster: the cluster.
        node_name: the node, as Kubernetes calls it.
        mode: kube-proxy's mode.

    Raises:
        UsageError: another mode.
        RulesUnreadable: the node's rules aren't as kube-proxy writes them in this mode.
        InfrastructureError: the node can't be asked.
    """
    if mode not in _READERS:
        raise UsageError(
            f"the rules of {mode} mode can't be read",
            remedy=f"use one of {', '.join(_READERS)}",
        )
    for _ in range(_READINGS - 1):
        try:
            return _READERS[mode](cluster, node_name)
        except RulesUnreadable:
            continue
    return _READERS[mode](cluster, node_name)
