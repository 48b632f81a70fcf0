"""The Docker network that kind puts its nodes into, made so that a node can get its address back.

Docker gives a container an address of one's choice only in a network whose subnet was named when it
was made, and kind leaves the IPv4 subnet to Docker. A network that kind finds, it uses.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from servicelab.cluster.lease import machine_lock
from servicelab.errors import InfrastructureError

if TYPE_CHECKING:
    from servicelab.engine import Engine

NETWORK = "kind"
_MTU = "com.docker.network.driver.mtu"
#: What kind derives from the network's name (`generateULASubnetFromName`).
IPV6_SUBNET = "fc00:f853:ccd:e793::/64"
#: As kind makes it, but for the MTU.
_OPTIONS = (
    "--driver", "bridge", "--opt", "com.docker.network.bridge.enable_ip_masquerade=true",
    "--ipv6", "--subnet", IPV6_SUBNET,
)  # fmt: skip


def ensure_network(engine: Engine) -> None:
    """Make the network unless there is one; where that fails, kind makes its own.

    Docker chooses the IPv4 subnet, and gets it named in a second try: meanwhile nobody else may
    find the network, and begin to use it.
    """
    with machine_lock("network"):
        _ensure_network(engine)


def _ensure_network(engine: Engine) -> None:
    if engine.try_docker("network", "inspect", NETWORK).returncode == 0:
        return
    options = (*_OPTIONS, *_mtu(engine))
    if engine.try_docker("network", "create", *options, NETWORK).returncode:
        return
    try:
        (made,) = json.loads(engine.docker("network", "inspect", NETWORK))
        chosen = ipv4_subnet(made["IPAM"]["Config"] or ())
        engine.docker("network", "rm", NETWORK)
        engine.docker("network", "create", *options, "--subnet", str(chosen), NETWORK)
    except InfrastructureError:
        return  # somebody else made it meanwhile, or uses it already


def _mtu(engine: Engine) -> tuple[str, ...]:
    """The option that gives the MTU of Docker's own bridge, as kind does, if it has one."""
    asked = f'{{{{index .Options "{_MTU}"}}}}'
    said = engine.try_docker("network", "inspect", "--format", asked, "bridge").stdout.strip()
    return ("--opt", f"{_MTU}={said.decode()}") if said.isdigit() else ()


def ipv4_subnet(configurations: Iterable[dict[str, str]]) -> IPv4Network:
    """The IPv4 subnet of a Docker network's IPAM configurations.

    Raises:
        InfrastructureError: there is none.
    """
    for each in configurations:
        subnet = ipaddress.ip_network(each.get("Subnet", "::/0"))
        if isinstance(subnet, IPv4Network):
            return subnet
    raise InfrastructureError(
        "the cluster's network has no IPv4 subnet, and load balancers need one",
        remedy="remove the Docker network `kind` when no cluster runs; kind makes it anew",
    )
