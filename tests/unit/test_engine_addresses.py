"""The private engine takes no addresses that the host uses."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

import pytest

from servicelab.engine.addresses import (
    CANDIDATE_POOLS,
    POD_RANGE,
    SERVICE_RANGE,
    choose_pool,
    parse_routes,
)
from servicelab.errors import InfrastructureError


def networks(*names: str) -> list[IPv4Network]:
    return [IPv4Network(name) for name in names]


def test_the_first_free_pool_is_chosen() -> None:
    """A route into a candidate rules it out, however narrow or wide the route is."""
    assert choose_pool(networks("192.0.2.0/24")) == CANDIDATE_POOLS[0]
    assert choose_pool(networks("172.30.7.0/24")) == CANDIDATE_POOLS[1]
    assert choose_pool(networks("172.16.0.0/12")) == IPv4Network("192.168.224.0/20")


def test_the_last_pool_is_kept_while_it_is_free() -> None:
    """Networks made before a restart keep their addresses."""
    last = CANDIDATE_POOLS[2]

    assert choose_pool([], preferred=last) == last
    assert choose_pool([last], preferred=last) == CANDIDATE_POOLS[0]


def test_no_free_pool_is_an_error_with_a_remedy() -> None:
    """Routes over all private ranges leave nothing, and the error says what brings them."""
    with pytest.raises(InfrastructureError, match="no addresses left") as caught:
        choose_pool(networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))

    assert "VPN" in caught.value.remedy


def test_no_pool_overlaps_a_cluster_range() -> None:
    """A node's address can't be mistaken for a Pod's or a Service's."""
    for pool in CANDIDATE_POOLS:
        assert not pool.overlaps(SERVICE_RANGE)
        assert not pool.overlaps(POD_RANGE)


def test_routes_that_lead_nowhere_are_not_taken() -> None:
    """The default route and unreachable ones are no one's networks; single addresses are."""
    routes = [
        {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"},
        {"dst": "192.0.2.0/24", "dev": "eth0"},
        {"type": "unreachable", "dst": "172.30.0.0/16"},
        {"type": "broadcast", "dst": "172.29.0.255", "dev": "x"},
        {"type": "local", "dst": "172.28.0.1", "dev": "y"},
    ]

    assert parse_routes(json.dumps(routes)) == networks("192.0.2.0/24", "172.28.0.1/32")
    assert parse_routes("") == []
