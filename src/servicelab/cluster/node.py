"""A node of the cluster: a container that Docker knows."""

from __future__ import annotations

import json
from dataclasses import dataclass

from servicelab.cluster.containers import NODE_LABEL
from servicelab.engine import Engine


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Attributes:
        name: the container's and the Node object's name.
        ip: its IPv4 address on the cluster's network.
        role: "control-plane" or "worker".
    """

    name: str
    ip: str
    role: str

    def url(self, port: int, path: str = "/") -> str:
        """An HTTP address on this node."""
        return f"http://{self.ip}:{port}{path}"


def nodes_of(engine: Engine, cluster: str) -> list[Node]:
    """The nodes of a kind cluster, control plane first, then by name."""
    label = f"label={NODE_LABEL}={cluster}"
    names = engine.docker("ps", "--filter", label, "--format", "{{.Names}}").split()
    if not names:
        return []
    nodes = []
    for container in json.loads(engine.docker("inspect", *names)):
        networks = container["NetworkSettings"]["Networks"]
        nodes.append(
            Node(
                name=container["Name"].removeprefix("/"),
                ip=next(network["IPAddress"] for network in networks.values()),
                role=container["Config"]["Labels"]["io.x-k8s.kind.role"],
            )
        )
    return sorted(nodes, key=lambda node: (node.role != "control-plane", node.name))
