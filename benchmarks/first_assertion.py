"""The least test there is: the cluster is there, and one thing is asserted of it."""

from __future__ import annotations

from servicelab.cluster import Cluster


def test_the_cluster_is_there(kind_cluster: Cluster) -> None:
    """A kept cluster is found and proved ready."""
    assert kind_cluster.nodes
