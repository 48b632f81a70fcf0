"""Recorded connections are followed through the rules to where they went."""

from __future__ import annotations

import json

import pytest

from servicelab.trace.packet import Endpoint

from .trace_records import NAMES, PODS, Record

GONE = {"rejected", "dropped"}


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_connection_is_followed_to_its_end(name: str) -> None:
    """The chains come in the order in which the kernel met them, and every proof agrees."""
    record = Record.named(name)

    trace = record.trace()

    assert [hop.chain for hop in trace.hops] == record.expected["chains"]
    assert trace.way.end == record.expected["end"]
    assert trace.way.masqueraded == record.expected["masqueraded"]
    assert (str(trace.backend.address) if trace.backend else None) == record.expected["backend"]
    assert trace.contradictions == (), trace.contradictions
    assert trace.proved
    assert trace.exit_code == (1 if record.expected["end"] in GONE else 0)


@pytest.mark.parametrize("name", [each for each in NAMES if each.startswith("iptables")])
def test_every_iptables_rule_on_the_way_counted_the_packet(name: str) -> None:
    """The proof of each hop is its counter, and that the kernel named it."""
    for hop in Record.named(name).trace().hops:
        assert hop.moved, hop
        assert hop.told, hop
        assert hop.rule.startswith(f"-A {hop.chain} "), hop


@pytest.mark.parametrize("name", [each for each in NAMES if each.startswith("nftables")])
def test_nftables_rules_do_not_count_and_that_is_said(name: str) -> None:
    """The kernel's own words and its memory of the connection are the proof."""
    trace = Record.named(name).trace()

    for hop in trace.hops:
        assert hop.moved is None
        assert hop.told, hop
        assert hop.rule, hop
    counters = next(check for check in trace.checks if check.name == "counters")
    assert counters.holds is None
    assert "no counters" in counters.says


def test_the_dice_are_told_with_the_place_among_the_endpoints() -> None:
    """A learner sees the chance, and the place in the row."""
    by_mode = {
        mode: next(
            hop.matched
            for hop in Record.named(f"{mode}-outside").trace().hops
            if "of 3" in hop.matched
        )
        for mode in ("iptables", "nftables")
    }

    assert by_mode == {
        "iptables": "the second of 3 endpoints, by dice with probability 0.5",
        "nftables": "a die of 3 sides fell on 0: the first of 3 endpoints",
    }


def test_a_remembered_client_is_told_apart_from_the_dice() -> None:
    """Both lead to the same endpoint; the counter, or the set, shows which it was."""
    iptables = [hop.matched for hop in Record.named("iptables-sticky").trace().hops]
    nftables = [hop.matched for hop in Record.named("nftables-sticky").trace().hops]

    assert "this client came here within the last 10800 s" in iptables
    assert any("came here not long ago, and is remembered" in each for each in nftables)
    assert not any("dice" in each or "die of" in each for each in iptables + nftables)


def test_a_first_packet_of_a_client_throws_the_dice() -> None:
    """The same rules, with counters of the chance in place of those of the memory."""
    record = Record.named("iptables-sticky")
    before, _ = record.readings()
    lines = before.texts["iptables"].splitlines()
    changed = dict(record.data["changed"]["iptables"])
    (recent,) = [number for number, line in changed.items() if "--rcheck" in line]
    target = lines[int(recent)].rpartition(" -j ")[2]
    by_dice = next(
        number
        for number, line in enumerate(lines)
        if line.endswith(f"-j {target}") and "--rcheck" not in line
    )
    del changed[recent]
    changed[str(by_dice)] = lines[by_dice].replace("[0:0]", "[1:60]", 1)

    trace = record.change(changed={"iptables": changed}).trace()

    assert "the third of 3 endpoints, which takes the rest" in [each.matched for each in trace.hops]
    assert not any("came here within" in each.matched for each in trace.hops)


def test_where_the_client_is_seen_from() -> None:
    """Masquerading is what conntrack's reply tuple shows."""
    outside, near = Record.named("iptables-outside").trace(), Record.named("iptables-near").trace()

    assert outside.connection is not None
    assert outside.connection.masqueraded
    assert near.connection is not None
    assert near.connection.seen_as == near.place.ip


def test_all_endpoints_are_told_not_only_the_one_that_was_chosen() -> None:
    """The picture shows who might have got it."""
    trace = Record.named("nftables-pod").trace()

    assert {choice.pod for choice in trace.choices} == set(PODS.values())
    assert trace.backend in trace.choices


def test_the_json_has_a_schema_and_is_json() -> None:
    """A machine may rely on the fields."""
    trace = Record.named("iptables-outside").trace()

    content = json.loads(json.dumps(trace.to_json()))

    assert content["schema"] == 1
    assert set(content) == {
        *("schema", "service", "type", "mode", "from", "asked", "protocol", "kind", "node"),
        *("why_node", "hops", "end", "masqueraded", "backend", "choices", "conntrack", "outcome"),
        *("answered_by", "seen_as", "reached", "checks", "proved", "sentence", "seconds"),
    }
    assert content["conntrack"]["reply"]["source"] == content["backend"]["address"]
    assert {check["name"] for check in content["checks"]} == {
        *("counters", "conntrack", "kernel", "rules", "answer")
    }
    assert {"packets_before", "packets_after", "told_by_kernel", "rule"} <= set(content["hops"][0])


def test_without_conntrack_the_counters_tell() -> None:
    """Where the kernel's connections can't be read, one moved counter is enough."""
    record = Record.named("iptables-pod")

    trace = record.change(conntrack=[None, None], told=[]).trace()

    assert trace.backend is not None
    assert trace.backend.address == Endpoint("10.244.2.3", 80)


def test_without_conntrack_the_kernel_tells() -> None:
    """nftables has no counters, but the kernel said where the packet went."""
    trace = Record.named("nftables-pod").change(conntrack=[None, None]).trace()

    assert str(trace.backend.address if trace.backend else "") == "10.244.2.3:80"
