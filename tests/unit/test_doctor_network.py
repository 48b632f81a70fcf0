"""Address clashes are told from the host's routes."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv4Network

from servicelab.doctor.network import parse_route_table, registry_finding, subnet_findings
from servicelab.engine.addresses import CANDIDATE_POOLS
from servicelab.engine.registry import Reach


def row(interface: str, network: str, *, flags: int = 1) -> str:
    """A line as the kernel prints it in /proc/net/route."""

    def number(address: IPv4Address) -> str:
        return f"{int.from_bytes(address.packed, sys.byteorder):08X}"

    net = IPv4Network(network)
    destination, mask = number(net.network_address), number(net.netmask)
    return f"{interface}\t{destination}\t00000000\t{flags:04X}\t0\t0\t0\t{mask}\t0\t0\t0"


def table(*rows: str) -> str:
    return "\n".join(["Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask", *rows])


def test_routes_are_read_without_default_and_unreachable_ones() -> None:
    """The guard's own routes are no one's network."""
    text = table(
        row("eth0", "0.0.0.0/0"),
        row("*", "10.96.0.0/12", flags=0x201),
        row("eth0", "192.0.2.0/24"),
    )

    assert parse_route_table(text) == [("eth0", IPv4Network("192.0.2.0/24"))]


def test_a_route_into_a_cluster_range_is_warned_of() -> None:
    """It names the interface, so that one sees whose it is."""
    (found,) = subnet_findings([("tun0", IPv4Network("10.96.8.0/24"))])

    assert found.level == "warn"
    assert "10.96.8.0/24 on tun0 overlaps the cluster's Services 10.96.0.0/16" in found.seen


def test_a_taken_pool_is_no_clash_as_long_as_another_is_free() -> None:
    """The finding says which one would be used."""
    (found,) = subnet_findings([("eth1", IPv4Network("172.30.0.0/16"))])

    assert found.level == "ok"
    assert f"would use {CANDIDATE_POOLS[1]} ({CANDIDATE_POOLS[0]} taken)" in found.seen


def test_an_engines_own_bridges_take_nothing_from_it() -> None:
    """A running private engine does not clash with itself."""
    (found,) = subnet_findings([("br-0123456789ab", IPv4Network("172.30.0.0/24"))])

    assert f"would use {CANDIDATE_POOLS[0]}" in found.seen


def test_no_pool_left_is_warned_of() -> None:
    """Then the private engine could not start."""
    taken = [("tun0", IPv4Network(n)) for n in ("172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8")]

    assert "no addresses left" in subnet_findings(taken)[-1].seen


def test_no_registry_is_a_note_with_the_way_around() -> None:
    """Images are built then: nothing is wrong."""
    assert registry_finding(Reach(True, "r in reach")).level == "ok"
    away = registry_finding(Reach(False, "r can't be resolved"))
    assert away.level == "note"
    assert "images save" in away.remedy
