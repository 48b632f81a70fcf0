"""GoBGP in a container beside a cluster: a router that waits for the nodes' speakers."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from servicelab.bgp.table import (
    Neighbour,
    Routes,
    parse_neighbours,
    parse_routes,
    routes_in_words,
)
from servicelab.errors import InfrastructureError
from servicelab.vantage.outside import CLUSTER_LABEL
from servicelab.verdict import Missing, deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.engine import Engine

NETWORK = "kind"
#: Private use numbers (RFC 6996), one for the router and one for the cluster.
ROUTER_ASN = 64513
CLUSTER_ASN = 64512
#: Only a number to tell routers apart; of TEST-NET-1, which is nobody's.
_ROUTER_ID = "192.0.2.1"
_CONFIGURATION = "gobgp.toml"


class BgpRouter:
    """A running router; `bgp_router` starts it.

    Args:
        engine: whose container it is.
        container: its name.
        ip: its address on the cluster's network, which speakers connect to.

    Attributes:
        asn: its autonomous system.
        cluster_asn: the one that it expects the speakers in.
    """

    asn = ROUTER_ASN
    cluster_asn = CLUSTER_ASN

    def __init__(self, engine: Engine, container: str, ip: str) -> None:
        self._engine = engine
        self.container = container
        self.ip = ip

    def neighbours(self) -> list[Neighbour]:
        """Its neighbour table, by address."""
        return parse_neighbours(self._gobgp("neighbor"))

    def routes(self) -> Routes:
        """Its table: the next hops of each prefix."""
        return parse_routes(self._gobgp("global", "rib"))

    def wait_for_sessions(self, addresses: Collection[str]) -> None:
        """Wait until it has a session with each of these neighbours, by its own table.

        Raises:
            NotProved: it has not, within `bgp_session_up`.
        """
        wanted = set(addresses)

        def up(neighbours: list[Neighbour]) -> bool | Missing:
            down = wanted - {each.address for each in neighbours if each.is_up}
            return not down or Missing(f"no session with {', '.join(sorted(down))}")

        eventually(
            self.neighbours,
            up,
            deadline=deadlines.current().bgp_session_up,
            expecting=f"the router {self.ip} to have a BGP session with {_words(wanted)}",
            tell=lambda neighbours: ", ".join(map(str, neighbours)) or "no neighbour",
        )

    def wait_for_route(self, prefix: str, next_hops: Collection[str]) -> None:
        """Wait until its table has a prefix with exactly these next hops; () for no such prefix.

        Raises:
            NotProved: it has not, within `route_follows`.
        """
        wanted = frozenset(next_hops)
        expecting = f"to lead {prefix} to {_words(wanted)}" if wanted else f"to have lost {prefix}"
        eventually(
            self.routes,
            lambda routes: routes.get(prefix, frozenset()) == wanted,
            deadline=deadlines.current().route_follows,
            expecting=f"the table of the router {self.ip} {expecting}",
            tell=routes_in_words,
        )

    def remove(self) -> None:
        """Remove the container. Twice does no harm."""
        self._engine.docker("rm", "--force", "--volumes", self.container)

    def _gobgp(self, *words: str) -> str:
        return self._engine.docker("exec", self.container, "gobgp", "--json", *words)


@contextmanager
def bgp_router(cluster: Cluster) -> Iterator[BgpRouter]:
    """A router beside a cluster that waits for a speaker on each of its nodes.

    It connects to nobody by itself, and tells nobody what it learned.

    Raises:
        InfrastructureError: it does not start; nothing is left of it.
    """
    engine = cluster.engine
    name = f"{cluster.name}-router-{uuid.uuid4().hex[:6]}"
    try:
        engine.docker(
            "create",
            f"--name={name}",
            f"--network={NETWORK}",
            f"--label={CLUSTER_LABEL}={cluster.name}",
            "--label=app.kubernetes.io/managed-by=servicelab",
            "--cap-drop=ALL",
            "--cap-add=NET_BIND_SERVICE",  # BGP's port is 179
            "--security-opt=no-new-privileges",
            cluster.extras.gobgp_image(),
            f"--config-file=/{_CONFIGURATION}",
            "--log-plain",
        )
        addresses = [node.ip for node in cluster.nodes]
        # Copied by the engine, which may stand on another machine than this one.
        engine.docker("cp", "-", f"{name}:/", input=_archive(configuration(addresses)))
        engine.docker("start", name)
        (seen,) = json.loads(engine.docker("inspect", name))
        ip = seen["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
        if not ip:
            said = engine.try_docker("logs", name).stdout.decode(errors="replace")
            raise InfrastructureError(f"the BGP router {name} ended at once: {said.strip()}")
        yield BgpRouter(engine, name, ip)
    finally:
        with contextlib.suppress(InfrastructureError):
            engine.docker("rm", "--force", "--volumes", name)


def configuration(neighbours: Collection[str]) -> str:
    """gobgpd's configuration: it waits for these neighbours.

    Args:
        neighbours: their addresses.
    """
    lines = ["[global.config]", f"as = {ROUTER_ASN}", f'router-id = "{_ROUTER_ID}"']
    for address in neighbours:
        lines += [
            "[[neighbors]]",
            "[neighbors.config]",
            f'neighbor-address = "{address}"',
            f"peer-as = {CLUSTER_ASN}",
            "[neighbors.transport.config]",
            "passive-mode = true",
        ]
    return "\n".join(lines) + "\n"


def _archive(text: str) -> bytes:
    """The configuration as `docker cp` takes it."""
    data = text.encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(_CONFIGURATION)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _words(addresses: Collection[str]) -> str:
    return ", ".join(sorted(addresses))
