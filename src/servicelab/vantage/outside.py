"""A host beside the cluster as a place to ask from.

A container on the cluster's Docker network. It knows its neighbours, the nodes, and a default
gateway; to Pods and Services it has no route until a test gives it one.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError
from servicelab.vantage.channel import PROBE_ARGV, Channel
from servicelab.vantage.process_channel import ProcessChannel
from servicelab.vantage.vantage import Vantage

if TYPE_CHECKING:
    from servicelab.engine import Engine

CLUSTER_LABEL = "servicelab.cluster"


class OutsideVantage(Vantage):
    """A running container; `start_outside` makes it.

    Args:
        engine: whose container it is.
        container: its name, which is the vantage point's name too.

    Attributes:
        container: its name.
        addresses: its addresses on the cluster's network, IPv4 first.
    """

    def __init__(self, engine: Engine, container: str, addresses: tuple[str, ...]) -> None:
        super().__init__(container, self._channel)
        self._engine = engine
        self.container = container
        self.addresses = addresses

    @property
    def ip(self) -> str:
        """Its first address."""
        return self.addresses[0]

    def _channel(self) -> Channel:
        argv = [str(self._engine.docker_binary), "exec", "-i", self.container]
        return ProcessChannel([*argv, *PROBE_ARGV, "channel"], self._engine.env)

    def add_route(self, cidr: str, via: str) -> None:
        """Send what is meant for a range to a neighbour, e.g. a node.

        Args:
            cidr: the range, `10.96.0.0/16`, or one address.
            via: the neighbour's address.

        Raises:
            InfrastructureError: the container's kernel refuses the route.
        """
        self._ip_route("replace", cidr, "via", via)

    def del_route(self, cidr: str) -> None:
        """Forget a route that `add_route` made.

        Raises:
            InfrastructureError: there is no such route.
        """
        self._ip_route("del", cidr)

    def routes(self) -> str:
        """Its IPv4 routes, as `ip route` prints them."""
        return self._ip_route("show")

    def neighbours(self) -> str:
        """The addresses whose MAC addresses it knows, as `ip neighbour` prints them."""
        return self._ip("neighbour", "show", "nud", "all")

    def forget_neighbours(self) -> None:
        """Empty that table, so that the next packet asks anew.

        An address that another had a moment ago still leads there otherwise.
        """
        self._ip("neighbour", "flush", "all")

    def _ip_route(self, *words: str) -> str:
        return self._ip("route", *words)

    def _ip(self, *words: str) -> str:
        return self._engine.docker("exec", "--user", "0:0", self.container, "ip", *words)

    def remove(self) -> None:
        """Hang up and remove the container. Twice does no harm."""
        self.close()
        self._engine.docker("rm", "--force", "--volumes", self.container)


def start_outside(
    engine: Engine, cluster: str, image: str, *, network: str = "kind"
) -> OutsideVantage:
    """Start a host beside the cluster.

    Args:
        engine: the one that runs the cluster.
        cluster: the cluster's name; the container carries it in the label `servicelab.cluster`,
            and an ending of its own in its name, so that several may stand beside one cluster.
        image: the probe image.
        network: the cluster's Docker network.

    Raises:
        InfrastructureError: it did not start; nothing is left of it.
    """
    name = f"{cluster}-outside-{uuid.uuid4().hex[:6]}"
    try:
        engine.docker(
            "run",
            "--detach",
            "--pull=never",
            f"--name={name}",
            "--hostname=outside",
            f"--network={network}",
            f"--label={CLUSTER_LABEL}={cluster}",
            "--label=app.kubernetes.io/managed-by=servicelab",
            "--cap-drop=ALL",
            "--cap-add=NET_ADMIN",  # for add_route
            "--cap-add=NET_RAW",  # for ARP
            "--security-opt=no-new-privileges",
            f"--entrypoint={PROBE_ARGV[0]}",
            image,
            *PROBE_ARGV[1:],
            "idle",
        )
        (container,) = json.loads(engine.docker("inspect", name))
        here = container["NetworkSettings"]["Networks"][network]
        addresses = (here.get("IPAddress"), here.get("GlobalIPv6Address"))
        return OutsideVantage(engine, name, tuple(each for each in addresses if each))
    except BaseException:
        with contextlib.suppress(InfrastructureError):
            engine.docker("rm", "--force", "--volumes", name)
        raise
