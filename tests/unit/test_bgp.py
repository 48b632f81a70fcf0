"""A BGP router beside a cluster: what it is told, and what its tables say."""

from __future__ import annotations

import json
import tomllib
from typing import Any, cast

import pytest

from servicelab.bgp import BgpRouter, Neighbour
from servicelab.bgp.router import configuration
from servicelab.bgp.table import parse_neighbours, parse_routes, routes_in_words
from servicelab.verdict import NotProved, deadlines

# As gobgp 4.8.0 prints them, without what is not read.
NEIGHBOURS = """[
 {"conf":{"local_asn":64513,"neighbor_address":"172.18.0.4","peer_asn":64512,"type":2},
  "state":{"neighbor_address":"172.18.0.4","session_state":3,"admin_state":1}},
 {"conf":{"local_asn":64513,"neighbor_address":"172.18.0.3","peer_asn":64512,"type":2},
  "state":{"neighbor_address":"172.18.0.3","session_state":6,"admin_state":1}}
]"""
ROUTES = """{
 "172.18.9.1/32":[
  {"nlri":{"prefix":"172.18.9.1/32"},"best":true,"attrs":[{"type":1,"value":2},
   {"type":2,"as_paths":[{"asns":[64512]}]},{"type":3,"nexthop":"172.18.0.3"}]},
  {"nlri":{"prefix":"172.18.9.1/32"},"attrs":[{"type":3,"nexthop":"172.18.0.4"}]}],
 "172.18.9.2/32":[{"nlri":{"prefix":"172.18.9.2/32"},"attrs":[{"type":3,"nexthop":"172.18.0.3"}]}]
}"""


class FakeEngine:
    """Answers for gobgp."""

    def __init__(self, neighbours: str = "[]", routes: str = "{}") -> None:
        self.answers = {"neighbor": neighbours, "global": routes}

    def docker(self, *args: str) -> str:
        return self.answers[args[args.index("--json") + 1]]


def router(engine: FakeEngine) -> BgpRouter:
    """A router whose tables the engine gives."""
    return BgpRouter(cast(Any, engine), "x-router", "172.18.0.9")


@pytest.fixture(autouse=True)
def impatient() -> Any:
    """Waits that try once."""
    before = deadlines.use(deadlines.Deadlines().changed({}, factor=1e-9))
    yield
    deadlines.use(before)


def test_the_router_waits_for_each_node() -> None:
    """It connects to nobody, and the cluster is another autonomous system than its own."""
    told = tomllib.loads(configuration(["172.18.0.3", "172.18.0.4"]))

    assert told["global"]["config"]["as"] == BgpRouter.asn
    assert [each["config"]["neighbor-address"] for each in told["neighbors"]] == [
        "172.18.0.3",
        "172.18.0.4",
    ]
    for neighbour in told["neighbors"]:
        assert neighbour["config"]["peer-as"] == BgpRouter.cluster_asn != BgpRouter.asn
        assert neighbour["transport"]["config"]["passive-mode"] is True


def test_the_neighbour_table_says_who_has_a_session() -> None:
    """In the words of the protocol's own states."""
    up, waiting = parse_neighbours(NEIGHBOURS)

    assert up == Neighbour("172.18.0.3", 64512, "Established")
    assert up.is_up
    assert str(waiting) == "172.18.0.4 Active"
    assert not waiting.is_up


def test_every_next_hop_of_a_prefix_counts_not_only_the_best() -> None:
    """A router spreads over all of them if it is told to."""
    routes = parse_routes(ROUTES)

    assert routes["172.18.9.1/32"] == {"172.18.0.3", "172.18.0.4"}
    assert routes_in_words(routes) == (
        "172.18.9.1/32 via 172.18.0.3, 172.18.0.4; 172.18.9.2/32 via 172.18.0.3"
    )


@pytest.mark.parametrize("nothing", ["{}", "null"])
def test_an_empty_table_is_no_route(nothing: str) -> None:
    """However gobgp says it."""
    assert parse_routes(nothing) == {}
    assert routes_in_words({}) == "no route"
    assert parse_neighbours("null") == []


def test_sessions_that_are_missing_are_named() -> None:
    """With the state of each neighbour."""
    one = router(FakeEngine(neighbours=NEIGHBOURS))

    one.wait_for_sessions(["172.18.0.3"])
    with pytest.raises(NotProved, match=r"no session with 172.18.0.4") as error:
        one.wait_for_sessions(["172.18.0.3", "172.18.0.4"])

    assert "172.18.0.3 Established, 172.18.0.4 Active" in str(error.value)


def test_a_route_must_have_exactly_its_next_hops() -> None:
    """One more is as wrong as one less; no next hop means no route."""
    one = router(FakeEngine(routes=ROUTES))

    one.wait_for_route("172.18.9.2/32", ["172.18.0.3"])
    one.wait_for_route("172.18.9.3/32", [])
    for prefix, hops in (("172.18.9.1/32", ["172.18.0.3"]), ("172.18.9.2/32", [])):
        with pytest.raises(NotProved, match=r"172.18.9.1/32 via 172.18.0.3, 172.18.0.4;"):
            one.wait_for_route(prefix, hops)


def test_a_container_that_is_no_router_is_not_believed() -> None:
    """What is not JSON is an error, not an empty table."""
    with pytest.raises(json.JSONDecodeError):
        router(FakeEngine(routes="connection refused")).routes()
