"""A cluster's containers, as Docker knows them: its nodes, and what stands beside it."""

from __future__ import annotations

from collections.abc import Sequence

from servicelab.engine import Engine
from servicelab.vantage.outside import CLUSTER_LABEL

#: kind's label for a node.
NODE_LABEL = "io.x-k8s.kind.cluster"


def node_states(engine: Engine, cluster: str) -> dict[str, str]:
    """A cluster's node containers and their states ("running", "exited", …)."""
    listing = engine.docker(
        "ps",
        "--all",
        "--filter",
        f"label={NODE_LABEL}={cluster}",
        "--format",
        "{{.Names}} {{.State}}",
    )
    return dict(line.split(maxsplit=1) for line in listing.splitlines())


def remove_containers(engine: Engine, cluster: str) -> Sequence[str]:
    """Remove a cluster's nodes and what stands beside it, with their volumes; returns the names."""
    names: list[str] = []
    for label in (NODE_LABEL, CLUSTER_LABEL):
        names += engine.docker(
            "ps", "--all", "--filter", f"label={label}={cluster}", "--format", "{{.Names}}"
        ).split()
    if names:
        engine.docker("rm", "--force", "--volumes", *names)
    return names
