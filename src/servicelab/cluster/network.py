"""The Docker network that kind puts its nodes into, made so that a node can get its address back.

Docker gives a container an address of one's choice only in a network whose subnet was named when it
was made, and kind leaves the IPv4 subnet to Docker. A network that kind finds, it uses.
"""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError

if TYPE_CHECKING:
    from servicelab.engine import Engine

NETWORK = "kind"
#: What kind derives from the network's name (`generateULASubnetFromName`).
IPV6_SUBNET = "fc00:f853:ccd:e793::/64"
#: As kind makes it, on Docker's default bridge MTU.
_OPTIONS = (
    "--driver", "bridge", "--opt", "com.docker.network.bridge.enable_ip_masquerade=true",
    "--ipv6", "--subnet", IPV6_SUBNET,
)  # fmt: skip


def ensure_network(engine: Engine) -> None:
    """Make the network unless there is one; where that fails, kind makes its own.

    Docker chooses the IPv4 subnet, and gets it named in a second try.
    """
    if engine.try_docker("network", "inspect", NETWORK).returncode == 0:
        return
    if engine.try_docker("network", "create", *_OPTIONS, NETWORK).returncode:
        return
    try:
        (made,) = json.loads(engine.docker("network", "inspect", NETWORK))
        subnets = [each["Subnet"] for each in made["IPAM"]["Config"]]
        chosen = next(each for each in subnets if ip_network(each).version == 4)
        engine.docker("network", "rm", NETWORK)
        engine.docker("network", "create", *_OPTIONS, "--subnet", chosen, NETWORK)
    except (InfrastructureError, StopIteration):
        return  # somebody else made it meanwhile, or uses it already
