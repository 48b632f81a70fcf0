"""A node that dies: its container is killed, as if its power failed, and started again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from servicelab.cluster.node import nodes_of
from servicelab.errors import InfrastructureError
from servicelab.verdict import Missing, NotProved, deadlines

if TYPE_CHECKING:
    from servicelab.cluster.kind_cluster import Cluster


@contextmanager
def dead(cluster: Cluster, node: str) -> Iterator[None]:
    """Kill a node, and start it again in the end; only in a test marked `disruptive`.

    Args:
        cluster: whose node it is.
        node: its name.

    Raises:
        InfrastructureError: it did not come back as it was.
    """
    address = _address(cluster, node)
    network, fixed = _place_in_network(cluster, node)
    cluster.engine.docker("kill", node)
    try:
        yield
    finally:
        started = datetime.now(UTC)
        # A container that starts again gets the lowest address that is free; its own is asked for.
        cluster.engine.docker("network", "disconnect", network, node)
        if cluster.engine.try_docker("network", "connect", *fixed, network, node).returncode:
            # A network whose subnet was not named: the lowest free address may well be its own.
            cluster.engine.docker("network", "connect", network, node)
        cluster.engine.docker("start", node)
        if (now := _address(cluster, node)) != address:
            raise InfrastructureError(
                f"the node {node} came back with the address {now or 'none'}, it had {address}",
                remedy="another container took it meanwhile; delete the cluster: servicelab down",
            )
        wait_until_ready(cluster, node, started)


def wait_until_ready(cluster: Cluster, node: str, since: datetime) -> None:
    """Wait until a node's own kubelet reports it Ready.

    Args:
        cluster: whose node it is.
        node: its name.
        since: when it was started; what was reported before says nothing.

    Raises:
        InfrastructureError: it does not, within `node_ready`.
    """
    from kubernetes.client import CoreV1Api

    from servicelab.verdict.watching import watch_until

    # The API has whole seconds.
    start = since.replace(microsecond=0)

    def ready(nodes: Mapping[str, Any]) -> bool | Missing:
        for each in nodes[node].status.conditions or () if node in nodes else ():
            if each.type == "Ready":
                fresh = each.last_heartbeat_time >= start
                return (fresh and each.status == "True") or Missing(
                    f"Ready is {each.status}, {each.reason}, as of {each.last_heartbeat_time}"
                )
        return Missing("it reports nothing")

    try:
        watch_until(
            CoreV1Api(cluster.client).list_node,
            ready,
            deadline=deadlines.current().node_ready,
            expecting=f"the node {node} to be Ready after it was started",
            tell=lambda nodes: "",
            field_selector=f"metadata.name={node}",
        )
    except NotProved as error:
        raise InfrastructureError(str(error)) from None


def _place_in_network(cluster: Cluster, node: str) -> tuple[str, list[str]]:
    """The network a node is in, and the options that give it the same addresses there."""
    (container,) = json.loads(cluster.engine.docker("inspect", node))
    ((network, endpoint),) = container["NetworkSettings"]["Networks"].items()
    options = {"--ip": endpoint["IPAddress"], "--ip6": endpoint.get("GlobalIPv6Address", "")}
    return network, [word for option in options.items() if option[1] for word in option]


def _address(cluster: Cluster, node: str) -> str:
    """The node's address as Docker knows it now; "" while its container does not run."""
    found = nodes_of(cluster.engine, cluster.name)
    return next((each.ip for each in found if each.name == node), "")
