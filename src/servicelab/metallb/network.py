"""The cluster's network as Docker knows it, and the slice of it that is one cluster's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from servicelab.cluster.lease import cluster_folder, clusters_root, machine_lock
from servicelab.cluster.network import NETWORK, ipv4_subnet
from servicelab.errors import UsageError
from servicelab.metallb.addresses import AddressRange, choose_slice

if TYPE_CHECKING:
    from servicelab.engine import Engine

_FILE = "load-balancer-addresses"


@dataclass(frozen=True, slots=True)
class ClusterNetwork:
    """The Docker network that the nodes stand on.

    Attributes:
        subnet: its IPv4 subnet.
        in_use: the addresses of its containers.
    """

    subnet: IPv4Network
    in_use: tuple[IPv4Address, ...]


def cluster_network(engine: Engine, network: str = NETWORK) -> ClusterNetwork:
    """Ask Docker for the network.

    Raises:
        InfrastructureError: there is none of that name, or it has no IPv4 subnet.
    """
    (found,) = json.loads(engine.docker("network", "inspect", network))
    written = [each.get("IPv4Address") for each in (found.get("Containers") or {}).values()]
    return ClusterNetwork(
        ipv4_subnet(found["IPAM"]["Config"] or ()),
        tuple(IPv4Interface(address).ip for address in written if address),
    )


def cluster_slice(cluster: str, network: ClusterNetwork) -> AddressRange:
    """The cluster's own addresses: chosen once, kept as long as the cluster is.

    Args:
        cluster: its name.
        network: what its nodes stand on.

    Raises:
        InfrastructureError: the network has none left.
    """
    with machine_lock(_FILE):
        own = cluster_folder(cluster) / _FILE
        if (kept := _read(own)) and kept.first in network.subnet and kept.last in network.subnet:
            return kept
        files = [path for path in clusters_root().glob(f"*/{_FILE}") if path != own]
        others = [found for path in files if (found := _read(path))]
        chosen = choose_slice(network.subnet, others=others, in_use=network.in_use)
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(f"{chosen}\n")
        return chosen


def _read(path: Path) -> AddressRange | None:
    try:
        return AddressRange.parse(path.read_text())
    except (FileNotFoundError, UsageError):
        return None
