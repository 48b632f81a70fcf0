"""The host guard: what it puts in place, and what it recognises as its own afterwards."""

from __future__ import annotations

from ipaddress import IPv4Network

from servicelab.engine.addresses import CANDIDATE_POOLS, POD_RANGE
from servicelab.engine.guard import IPV6_RULES, leftover_rules, made_chains, routing_rules

POOL = IPv4Network("172.30.0.0/16")

LISTING = """\
-P INPUT ACCEPT
-P FORWARD DROP
-N DOCKER
-N DOCKER-ISOLATION-STAGE-1
-N DOCKER-USER
-N KUBE-FORWARD
-N SERVICELAB-GUARD
-A FORWARD -j DOCKER-USER
-A FORWARD -o br-0123456789ab -j DOCKER
-A FORWARD -i br-0123456789ab ! -o br-0123456789ab -j ACCEPT
-A FORWARD -i br-fedcba987654 -j ACCEPT
-A FORWARD -s 10.0.0.0/8 -j ACCEPT
-A POSTROUTING -s 172.30.4.0/24 ! -o br-0123456789ab -j MASQUERADE
-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE
-A DOCKER -d 172.30.4.2/32 -p tcp -m tcp --dport 6443 -j ACCEPT
-A FORWARD -j KUBE-FORWARD
""".splitlines()


def test_inside_is_allowed_before_outside_is_prohibited() -> None:
    """For each source the rule that lets its own networks through comes first."""
    rules = [dict(zip(rule[::2], rule[1::2], strict=False)) for rule in routing_rules(POOL)]

    for inside, outside in zip(rules[::2], rules[1::2], strict=True):
        assert inside["from"] == outside["from"]
        assert inside["to"] == str(POOL)
        assert int(inside["pref"]) < int(outside["pref"])
    assert [rule[-1] for rule in routing_rules(POOL)[1::2]] == ["prohibit"] * 3
    assert {rule["from"] for rule in rules} >= {str(POOL), str(POD_RANGE)}


def test_rules_of_two_pools_never_meet() -> None:
    """Taking one engine's rules away leaves the other's."""
    preferences = [rule[1] for pool in CANDIDATE_POOLS for rule in routing_rules(pool)]

    assert len(set(preferences)) == len(preferences)
    assert max(map(int, preferences)) < 32766


def test_ipv6_lets_frames_through_that_stay_on_their_bridge() -> None:
    """The exception comes before the rejection."""
    assert IPV6_RULES[0][-1] == "RETURN"
    assert "REJECT" in IPV6_RULES[1]


def test_only_the_guards_and_dockers_chains_are_taken_for_made() -> None:
    """Another program's chain is never flushed."""
    assert made_chains(LISTING) == [
        "DOCKER",
        "DOCKER-ISOLATION-STAGE-1",
        "DOCKER-USER",
        "SERVICELAB-GUARD",
    ]


def test_the_engines_rules_are_found_and_no_others() -> None:
    """Jumps to its chains, rules about its bridges and its addresses; not those of others."""
    found = leftover_rules(
        LISTING, frozenset({"DOCKER", "DOCKER-USER"}), frozenset({"br-0123456789ab"}), POOL
    )

    assert [" ".join(rule) for rule in found] == [
        "FORWARD -j DOCKER-USER",
        "FORWARD -o br-0123456789ab -j DOCKER",
        "FORWARD -i br-0123456789ab ! -o br-0123456789ab -j ACCEPT",
        "POSTROUTING -s 172.30.4.0/24 ! -o br-0123456789ab -j MASQUERADE",
    ]


def test_in_anothers_chain_only_rules_about_the_engine_are_found() -> None:
    """Chains that were there before stay, without what the engine put into them."""
    found = leftover_rules(LISTING, frozenset(), frozenset({"br-0123456789ab"}), POOL)

    assert ("FORWARD", "-j", "DOCKER-USER") not in found
    assert any(rule[0] == "DOCKER" and "172.30.4.2/32" in rule for rule in found)
