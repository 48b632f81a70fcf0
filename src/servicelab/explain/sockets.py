"""What a Pod listens on, read from its node: nothing runs in the Pod."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from servicelab.errors import ServicelabError
from servicelab.explain.answers import Socket
from servicelab.explain.objects import Json, node_of

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

_FILES = ("tcp", "tcp6", "udp", "udp6")
_LISTENING = {"tcp": "0A", "udp": "07"}  # TCP_LISTEN, and TCP_CLOSE of a UDP socket without a peer


def read_sockets(cluster: Cluster, pod: Json) -> tuple[Socket, ...] | None:
    """The sockets that a Pod's containers listen on; None if its processes can't be found.

    They are found by the Pod's cgroup, and their network by /proc, both on the node.
    """
    node = node_of(pod)
    uid = str(pod["metadata"]["uid"])
    try:
        # systemd writes the dashes of a UID as underscores.
        listing = cluster.docker_exec(
            node, "find", "/sys/fs/cgroup", "-name", "cgroup.procs", "-regex",
            f".*pod\\({uid}\\|{uid.replace('-', '_')}\\).*/cgroup.procs",
            "-exec", "cat", "{}", "+",
        )  # fmt: skip
        process = next(iter(listing.split()), "")
        if not process:
            return None
        files = [f"/proc/{process}/net/{each}" for each in _FILES]
        # tail names each file that it prints.
        return parse_sockets(cluster.docker_exec(node, "tail", "-v", "-n", "+2", *files))
    except ServicelabError:
        return None


def parse_sockets(text: str) -> tuple[Socket, ...]:
    """Read /proc/net/tcp, tcp6, udp and udp6, as tail prints several files.

    Args:
        text: a line `==> /proc/1/net/tcp <==` before each file's lines, without their headings.
    """
    found: set[Socket] = set()
    kind = ""
    for line in text.splitlines():
        if line.startswith("==>"):
            kind = line.split()[1].rpartition("/")[2].rstrip("6")
            continue
        words = line.split()
        if len(words) < 4 or words[3] != _LISTENING.get(kind):
            continue
        address, _, port = words[1].partition(":")
        found.add(Socket(_address(address), int(port, 16), kind.upper()))
    return tuple(sorted(found, key=lambda each: (each.protocol, each.port, each.ip)))


def _address(text: str) -> str:
    """An address as /proc writes it: 32-bit words, each in the byte order of the machine."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
