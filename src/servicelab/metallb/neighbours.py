"""Who claims an address in ARP, seen from a host on the cluster's network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.vantage import OutsideVantage


class Neighbours:
    """The nodes as a host beside them knows them: by their MAC addresses.

    Args:
        cluster: whose nodes they are.
        place: the host.
    """

    def __init__(self, cluster: Cluster, place: OutsideVantage) -> None:
        self._place = place
        self._names = {
            mac: node.name
            for node in cluster.nodes
            for mac in place.who_has(node.ip, gather=0.0).macs
        }

    def name(self, mac: str) -> str:
        """The node that has a MAC address; the address itself if none has."""
        return self._names.get(mac, mac)

    def claimants(self, address: str) -> list[str]:
        """Every node that answers ARP for an address, the first to answer first."""
        return [self.name(mac) for mac in self._place.who_has(address).macs]
