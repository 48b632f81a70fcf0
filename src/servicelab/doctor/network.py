"""Address clashes on the host, and whether a registry is in reach."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from servicelab.doctor.finding import Finding
from servicelab.engine.addresses import CANDIDATE_POOLS, POD_RANGE, choose_pool
from servicelab.engine.registry import Reach, registry_in_reach
from servicelab.errors import InfrastructureError

# What a cluster uses: kubeadm's default for Services as kind sets it, and kind's for Pods.
CLUSTER_SERVICES = IPv4Network("10.96.0.0/16")
# Flags of a route in /proc/net/route (linux/route.h).
ROUTE_REJECT = 0x0200


def parse_route_table(text: str) -> list[tuple[str, IPv4Network]]:
    """Interface and network of each route in /proc/net/route.

    The default route and unreachable ones are left out: nobody is behind them.
    """
    routes: list[tuple[str, IPv4Network]] = []
    for line in text.splitlines()[1:]:
        words = line.split()
        flags, mask = int(words[3], 16), _address(words[7])
        if flags & ROUTE_REJECT or int(mask) == 0:
            continue
        routes.append((words[0], IPv4Network(f"{_address(words[1])}/{mask}")))
    return routes


def subnet_findings(routes: Sequence[tuple[str, IPv4Network]]) -> list[Finding]:
    """Whether the host's own networks overlap those of a cluster."""
    findings: list[Finding] = []
    clashes = [
        f"{network} on {interface} overlaps the cluster's {name} {wanted}"
        for name, wanted in (("Services", CLUSTER_SERVICES), ("Pods", POD_RANGE))
        for interface, network in routes
        if network.overlaps(wanted)
    ]
    if clashes:
        findings.append(
            Finding(
                "subnets",
                "warn",
                "; ".join(clashes),
                "the host can't be reached from Pods at these addresses: leave the VPN, or change "
                "serviceSubnet and podSubnet in kind-config.yaml",
            )
        )
    # Bridges of Docker's are left out: an engine never clashes with its own.
    foreign = [network for interface, network in routes if not interface.startswith("br-")]
    try:
        pool = choose_pool(foreign)
    except InfrastructureError as error:
        findings.append(Finding("subnets", "warn", error.problem, error.remedy))
    else:
        taken = ", ".join(str(p) for p in CANDIDATE_POOLS[: CANDIDATE_POOLS.index(pool)])
        if not clashes:
            seen = f"no clash; a private engine would use {pool}"
            findings.append(Finding("subnets", "ok", seen + (f" ({taken} taken)" * bool(taken))))
    return findings


def registry_finding(reach: Reach) -> Finding:
    """Where images come from."""
    if reach:
        return Finding("registry", "ok", f"{reach.why}: official images are pulled")
    return Finding(
        "registry",
        "note",
        f"{reach.why}: images are built from Go modules and Debian packages (20 min, once)",
        "with a network only sometimes: servicelab images save FILE, and load FILE here",
    )


def network_findings() -> list[Finding]:
    """Address clashes on this machine."""
    table = Path("/proc/net/route")
    return subnet_findings(parse_route_table(table.read_text()) if table.exists() else [])


def registry_findings() -> list[Finding]:
    """Whether a registry is in reach from this machine."""
    return [registry_finding(registry_in_reach())]


def _address(word: str) -> IPv4Address:
    # The kernel prints the four bytes as one number of the machine's byte order.
    return IPv4Address(int(word, 16).to_bytes(4, sys.byteorder))
