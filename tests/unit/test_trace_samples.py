"""The rules that were recorded for `observe`, with packets of every kind: who gets where."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicelab.observe.iptables import parse_iptables
from servicelab.observe.nftables import parse_nftables
from servicelab.trace.hop import Way
from servicelab.trace.packet import Endpoint, Enters, Packet
from servicelab.trace.readings import Reading
from servicelab.trace.way import follow

SAMPLES = Path(__file__).parent / "rules"
TEXTS = {
    "iptables": {"iptables": (SAMPLES / "iptables-worker.txt").read_text()},
    "nftables": {"nft": (SAMPLES / "nftables-worker.json").read_text(), "nft_text": ""},
}
NODE = "172.30.0.6"
BALANCED, OUTSIDE = Endpoint("198.51.100.9", 80), Endpoint("198.51.100.7", 80)
HERE, THERE = Endpoint("10.244.1.2", 80), Endpoint("10.244.2.2", 80)
MODES = tuple(TEXTS)


def way(
    mode: str,
    source: str,
    asked: Endpoint,
    chosen: Endpoint | None = None,
    enters: Enters = "prerouting",
    protocol: str = "tcp",
) -> Way:
    """Follow a packet."""
    reading = Reading(TEXTS[mode], frozenset({NODE}))
    packet = Packet(protocol, source, *asked, enters, reading.local)
    return follow(mode, reading, reading, packet, chosen)


def door(mode: str, service: str) -> Endpoint:
    """A Service's node port on the node."""
    parse = {"iptables": parse_iptables, "nftables": parse_nftables}[mode]
    text = next(iter(TEXTS[mode].values()))
    (rule,) = (each for each in parse(text) if each.service == service and each.kind == "node")
    return Endpoint(NODE, rule.port)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", ["203.0.113.5", "192.0.2.77"])
def test_a_client_in_the_load_balancers_ranges_is_let_through(mode: str, source: str) -> None:
    """Each of the two ranges counts."""
    found = way(mode, source, BALANCED, THERE)

    assert (found.end, found.backend, found.masqueraded) == ("backend", THERE, True)


@pytest.mark.parametrize("mode", MODES)
def test_a_client_outside_the_ranges_is_dropped(mode: str) -> None:
    """The last hop drops it, and it is never translated."""
    found = way(mode, "203.0.114.5", BALANCED)

    assert (found.end, found.backend) == ("dropped", None)
    assert found.hops[-1].verdict == "drop"


@pytest.mark.parametrize("mode", MODES)
def test_an_external_address_is_masqueraded(mode: str) -> None:
    """The answer must come back by this node."""
    found = way(mode, "203.0.113.5", OUTSIDE, HERE)

    assert (found.end, found.backend, found.masqueraded) == ("backend", HERE, True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("source", "enters", "chosen", "masqueraded"),
    [
        ("203.0.113.5", "prerouting", HERE, False),  # stays on the node, and is seen as it is
        ("10.244.1.9", "prerouting", THERE, False),  # a Pod takes the short cut to all endpoints
        (NODE, "output", THERE, True),  # so does the node, masqueraded
    ],
)
def test_a_local_policy_has_short_cuts(
    mode: str, source: str, enters: Enters, chosen: Endpoint, masqueraded: bool
) -> None:
    """externalTrafficPolicy: Local is for those outside only."""
    found = way(mode, source, door(mode, "local"), chosen, enters)

    assert (found.end, found.backend, found.masqueraded) == ("backend", chosen, masqueraded)


def test_who_is_outside_does_not_get_to_another_nodes_endpoint() -> None:
    """The node's rules for those outside do not have it."""
    found = way("nftables", "203.0.113.5", door("nftables", "local"), THERE)

    assert found.backend is None


@pytest.mark.parametrize("mode", MODES)
def test_a_pod_that_is_sent_back_to_itself_is_masqueraded(mode: str) -> None:
    """Otherwise it would answer itself directly, and not know the answer."""
    parse = {"iptables": parse_iptables, "nftables": parse_nftables}[mode]
    rules = parse(next(iter(TEXTS[mode].values())))
    (web,) = (
        each
        for each in rules
        if (each.service, each.kind, each.protocol) == ("web", "cluster", "TCP")
    )

    found = way(mode, HERE.ip, Endpoint(web.ip, web.port), HERE)
    other = way(mode, HERE.ip, Endpoint(web.ip, web.port), THERE)

    assert (found.backend, found.masqueraded) == (HERE, True)
    assert (other.backend, other.masqueraded) == (THERE, False)


@pytest.mark.parametrize("mode", MODES)
def test_an_address_that_no_service_has_is_left_alone(mode: str) -> None:
    """Nothing of kube-proxy's does anything with it."""
    found = way(mode, "10.244.1.9", Endpoint("192.0.2.1", 80))

    assert (found.end, found.backend) == ("untranslated", None)
    assert not [hop for hop in found.hops if hop.hook == "prerouting"]


@pytest.mark.parametrize("mode", MODES)
def test_another_protocol_is_another_service(mode: str) -> None:
    """Port 80 of the same address, but UDP."""
    assert way(mode, "203.0.113.5", OUTSIDE, HERE, protocol="udp").backend is None
