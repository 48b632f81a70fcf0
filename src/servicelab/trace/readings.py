"""What a node's kernel shows, read before and after the connection."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError
from servicelab.observe.ipvs import DUMMY, IPSETS, IPVS_CONNECTIONS, TABLE
from servicelab.trace.local_addresses import FIB_TRIE, parse_local
from servicelab.trace.packet import Endpoint

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.cluster.node import Node

IPTABLES = ("iptables-save", "--counters")
NFT_JSON = ("nft", "--json", "list", "table", "ip", "kube-proxy")
NFT_TEXT = ("nft", "--handle", "list", "table", "ip", "kube-proxy")

_COMMANDS: dict[str, dict[str, tuple[str, ...]]] = {
    "iptables": {"iptables": IPTABLES},
    "nftables": {"nft": NFT_JSON, "nft_text": NFT_TEXT},
    "ipvs": {
        "iptables": IPTABLES,
        "ipsets": IPSETS,
        "ipvs": TABLE,
        "ipvs_connections": IPVS_CONNECTIONS,
        "dummy": DUMMY,
    },
}


@dataclass(frozen=True, slots=True)
class Reading:
    """The text that a node's tools printed, all at about one moment.

    Attributes:
        texts: by what they are of: iptables, nft, nft_text, ipsets, ipvs, ipvs_connections, dummy.
        local: the node's own addresses.
        conntrack: its entries for the protocol and destination; None if they can't be read.
        no_conntrack: why not.
    """

    texts: dict[str, str] = field(default_factory=dict)
    local: frozenset[str] = frozenset()
    conntrack: str | None = None
    no_conntrack: str = ""


def conntrack_argv(protocol: str, asked: Endpoint) -> tuple[str, ...]:
    """The command that lists what conntrack knows of connections to an address."""
    to = ("--orig-dst", asked.ip, "--orig-port-dst", str(asked.port))
    return ("conntrack", "-L", "-p", protocol, *to)


def read_node(cluster: Cluster, node: Node, mode: str, protocol: str, asked: Endpoint) -> Reading:
    """Read all that tells of packets to an address.

    Args:
        cluster: the cluster.
        node: the node.
        mode: kube-proxy's mode: iptables, nftables or ipvs.
        protocol: "tcp" or "udp".
        asked: the address and port.

    Raises:
        InfrastructureError: the node can't be asked.
    """
    commands = _COMMANDS[mode]
    argv = conntrack_argv(protocol, asked)
    with ThreadPoolExecutor(max_workers=len(commands) + 2) as reading:
        entries = reading.submit(_attempt, cluster, node.name, argv)
        routes = reading.submit(_attempt, cluster, node.name, FIB_TRIE)
        printed = reading.map(lambda each: cluster.docker_exec(node.name, *each), commands.values())
        texts = dict(zip(commands, printed, strict=True))
    found, why_not = entries.result()
    table, _ = routes.result()
    # kube-proxy's own image, all that there is of a node elsewhere, may be without `cat`.
    local = frozenset({node.ip}) if table is None else parse_local(table)
    return Reading(texts, local, found, why_not)


def _attempt(cluster: Cluster, node: str, argv: tuple[str, ...]) -> tuple[str | None, str]:
    try:
        return cluster.docker_exec(node, *argv), ""
    except InfrastructureError as error:
        return None, error.problem
