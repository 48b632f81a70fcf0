"""Which addresses the private engine's networks get, without taking any the host uses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Network

from servicelab.engine.packages import Programs
from servicelab.errors import InfrastructureError

# Private ranges (RFC 1918) that Docker's own defaults and home routers use least.
CANDIDATE_POOLS = (
    IPv4Network("172.30.0.0/16"),
    IPv4Network("172.29.0.0/16"),
    IPv4Network("172.28.0.0/16"),
    IPv4Network("172.27.0.0/16"),
    IPv4Network("192.168.224.0/20"),
    IPv4Network("10.213.0.0/16"),
)
SUBNET_PREFIX = 24

# The private engine's clusters use kubeadm's Service range and kind's Pod range. The Service
# range is guarded up to kubeadm's default /12.
SERVICE_RANGE = IPv4Network("10.96.0.0/12")
POD_RANGE = IPv4Network("10.244.0.0/16")

_NOBODYS = frozenset({"unreachable", "blackhole", "prohibit", "broadcast", "multicast"})


def choose_pool(
    taken: Sequence[IPv4Network],
    *,
    preferred: IPv4Network | None = None,
    candidates: Sequence[IPv4Network] = CANDIDATE_POOLS,
) -> IPv4Network:
    """The first candidate that overlaps nothing the host routes.

    Args:
        taken: the networks the host has routes for.
        preferred: the pool of the last start, kept if it is still free.
        candidates: what to choose from.

    Raises:
        InfrastructureError: each of them is taken.
    """
    for pool in [*([preferred] if preferred else []), *candidates]:
        if not any(pool.overlaps(network) for network in taken):
            return pool
    raise InfrastructureError(
        f"the host already has routes into each of {', '.join(map(str, candidates))}, so the "
        "private engine has no addresses left for its networks",
        remedy="take one of these routes away (a VPN often brings them), or use a Docker of "
        "your own",
    )


def host_networks(programs: Programs) -> list[IPv4Network]:
    """The IPv4 networks the host has routes for, the default route left out.

    Raises:
        InfrastructureError: the routes can't be listed.
    """
    listed = programs.run("ip", "-4", "-json", "route", "show", "table", "all")
    if listed.returncode:
        raise InfrastructureError(f"`ip route` failed: {listed.stderr.strip()}")
    return parse_routes(listed.stdout)


def parse_routes(text: str) -> list[IPv4Network]:
    """Networks in the output of `ip -json route`; unreachable ones are nobody's, so not taken."""
    networks: list[IPv4Network] = []
    for route in json.loads(text or "[]"):
        destination = route.get("dst", "default")
        if destination != "default" and route.get("type", "unicast") not in _NOBODYS:
            networks.append(IPv4Network(destination, strict=False))
    return networks
