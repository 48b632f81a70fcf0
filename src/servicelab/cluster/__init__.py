"""The life of a kind cluster: create, prove ready, reuse, switch mode, delete, reap."""

from servicelab.cluster.config import PROXY_MODES, ProxyMode
from servicelab.cluster.containers import remove_containers
from servicelab.cluster.kind_cluster import Cluster, as_mode
from servicelab.cluster.lease import Lease, all_leases, cluster_lock, forget, read_lease
from servicelab.cluster.node import Node
from servicelab.cluster.reap import Reaped, abandoned, reap, restore_kept

__all__ = [
    "PROXY_MODES",
    "Cluster",
    "Lease",
    "Node",
    "ProxyMode",
    "Reaped",
    "abandoned",
    "all_leases",
    "as_mode",
    "cluster_lock",
    "forget",
    "read_lease",
    "reap",
    "remove_containers",
    "restore_kept",
]
