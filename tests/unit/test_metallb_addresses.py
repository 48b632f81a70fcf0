"""Addresses for load balancers: high up in the network, disjoint for each cluster and pool."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from servicelab.cluster.network import ipv4_subnet
from servicelab.errors import InfrastructureError, UsageError
from servicelab.metallb.addresses import (
    SLICE,
    AddressRange,
    check_pool,
    choose_slice,
    free_block,
    slices,
)
from servicelab.metallb.network import ClusterNetwork, cluster_network, cluster_slice

SUBNET = IPv4Network("172.30.0.0/24")
HIGHEST = AddressRange.parse("172.30.0.231-172.30.0.254")


def of(text: str) -> AddressRange:
    """A range."""
    return AddressRange.parse(text)


@pytest.mark.parametrize(
    ("text", "first", "last", "count"),
    [
        ("172.18.255.200-172.18.255.250", "172.18.255.200", "172.18.255.250", 51),
        ("172.18.255.200 - 172.18.255.200", "172.18.255.200", "172.18.255.200", 1),
        ("172.18.255.8/29", "172.18.255.8", "172.18.255.15", 8),
        ("172.18.255.9", "172.18.255.9", "172.18.255.9", 1),
    ],
)
def test_a_range_is_written_as_in_a_pool(text: str, first: str, last: str, count: int) -> None:
    """From first to last, as a CIDR, or one address; both ends are in it."""
    found = of(text)

    assert (str(found.first), str(found.last), len(found)) == (first, last, count)
    assert len(list(found)) == count
    assert IPv4Address(first) in found
    assert IPv4Address(last) in found
    assert IPv4Address(int(IPv4Address(last)) + 1) not in found
    assert of(str(found)) == found


@pytest.mark.parametrize("text", ["", "a-b", "10.0.0.9-", "10.0.0.300", "10.0.0.1/24", "fd00::/64"])
def test_what_is_no_range_is_told(text: str) -> None:
    """One sentence with how to write it."""
    with pytest.raises(UsageError, match="write FIRST-LAST or a CIDR"):
        of(text)


def test_a_range_does_not_run_backwards() -> None:
    """Its ends are named."""
    with pytest.raises(UsageError, match=r"10\.0\.0\.9-10\.0\.0\.1 ends before it begins"):
        of("10.0.0.9-10.0.0.1")


@pytest.mark.parametrize("prefix", [16, 20, 24, 25, 26])
def test_slices_are_disjoint_in_the_upper_half_and_no_special_address(prefix: int) -> None:
    """Whatever the size of the network; its own and its broadcast address are in none."""
    subnet = IPv4Network(f"172.30.0.0/{prefix}")
    found = slices(subnet)

    assert found or prefix == 26
    for one in found[:50]:
        assert len(one) == SLICE
        assert one.last < subnet.broadcast_address
        assert one.first > subnet.network_address
        assert int(one.first) >= int(subnet.network_address) + subnet.num_addresses // 2
    assert not any(one.overlaps(other) for one, other in combinations(found[:50], 2))


def test_the_first_cluster_gets_the_highest_addresses() -> None:
    """Right below the broadcast address; the next cluster those below."""
    first = choose_slice(SUBNET, others=[])
    second = choose_slice(SUBNET, others=[first])

    assert first == HIGHEST
    assert second == of("172.30.0.207-172.30.0.230")


def test_a_slice_with_a_container_in_it_is_passed_over() -> None:
    """Somebody gave a container one of these addresses by hand."""
    chosen = choose_slice(SUBNET, others=[], in_use=[IPv4Address("172.30.0.240")])

    assert chosen == of("172.30.0.207-172.30.0.230")


def test_a_full_network_says_what_to_do() -> None:
    """How many clusters have it, and how to get rid of one."""
    with pytest.raises(InfrastructureError, match=r"belongs to 5 other clusters.*servicelab down"):
        choose_slice(SUBNET, others=slices(SUBNET))


def test_pools_take_the_lowest_free_addresses_in_a_row() -> None:
    """Between others, if there is room; else behind them."""
    taken = [of("172.30.0.231-172.30.0.232"), of("172.30.0.235-172.30.0.236")]

    assert free_block(HIGHEST, [], 3) == of("172.30.0.231-172.30.0.233")
    assert free_block(HIGHEST, taken, 2) == of("172.30.0.233-172.30.0.234")
    assert free_block(HIGHEST, taken, 3) == of("172.30.0.237-172.30.0.239")
    assert free_block(HIGHEST, [], SLICE) == HIGHEST


def test_too_many_addresses_are_told_with_who_has_them() -> None:
    """The slice, what was asked for and the pools."""
    with pytest.raises(InfrastructureError, match=r"no 24 in a row left: pools take 172.30.0.240"):
        free_block(HIGHEST, [of("172.30.0.240")], SLICE)


@pytest.mark.parametrize(
    ("pool", "complaint"),
    [
        ("10.0.0.1-10.0.0.9", "lies outside the cluster's network 172.30.0.0/24"),
        ("172.30.0.250-172.30.1.3", "lies outside the cluster's network"),
        ("172.30.0.250-172.30.0.255", "172.30.0.255, which is its broadcast address"),
        ("172.30.0.0/28", "172.30.0.0, which is the network's own address"),
    ],
)
def test_a_pool_that_no_neighbour_asks_for_is_refused(pool: str, complaint: str) -> None:
    """One sentence: which pool, why, and addresses that would do."""
    with pytest.raises(UsageError, match=complaint) as refused:
        check_pool(of(pool), SUBNET, HIGHEST)

    assert str(refused.value).endswith(f"choose addresses from {HIGHEST}")


def test_a_pool_within_the_network_is_taken() -> None:
    """Anywhere in it: whoever names addresses knows why."""
    check_pool(of("172.30.0.1-172.30.0.9"), SUBNET, HIGHEST)


def test_the_ipv4_subnet_of_two_is_used() -> None:
    """kind's network has an IPv6 subnet too."""
    both = [{"Subnet": "fc00:f853:ccd:e793::/64"}, {"Subnet": "172.18.0.0/16"}]

    assert ipv4_subnet(both) == IPv4Network("172.18.0.0/16")
    with pytest.raises(InfrastructureError, match="no IPv4 subnet"):
        ipv4_subnet(both[:1])


class FakeEngine:
    """Docker with the network `kind`."""

    def docker(self, *args: str) -> str:
        """`docker network inspect kind`."""
        assert args == ("network", "inspect", "kind")
        containers = {
            "a": {"IPv4Address": "172.30.0.2/24", "IPv6Address": ""},
            "b": {"IPv4Address": "", "IPv6Address": "fc00::2/64"},
        }
        ipam = {"Config": [{"Subnet": "172.30.0.0/24", "Gateway": "172.30.0.1"}]}
        return json.dumps([{"IPAM": ipam, "Containers": containers}])


def test_docker_says_what_the_network_is() -> None:
    """Its subnet, and the addresses that containers have."""
    engine: Any = FakeEngine()

    assert cluster_network(engine) == ClusterNetwork(SUBNET, (IPv4Address("172.30.0.2"),))


def test_each_cluster_keeps_its_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the cluster is there; then another one may have it."""
    from servicelab.cluster.lease import forget

    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path))
    network = ClusterNetwork(SUBNET, ())

    first, second = cluster_slice("one", network), cluster_slice("two", network)

    assert not first.overlaps(second)
    assert cluster_slice("one", network) == first
    forget("one")
    assert cluster_slice("three", network) == first
    assert cluster_slice("two", network) == second


def test_a_slice_of_another_network_is_chosen_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Docker network was made anew, with another subnet."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path))
    cluster_slice("one", ClusterNetwork(SUBNET, ()))

    moved = cluster_slice("one", ClusterNetwork(IPv4Network("172.18.0.0/16"), ()))

    assert moved == of("172.18.255.231-172.18.255.254")
