"""A trace that claims what was not so is contradicted: each proof can fail."""

from __future__ import annotations

import json
from typing import Any

import pytest

from servicelab.trace.result import Trace

from .trace_records import Record

BACKENDS = ("iptables-pod", "iptables-outside", "nftables-pod", "nftables-outside", "nftables-udp")


def names(trace: Trace) -> set[str]:
    """The proofs that contradict a trace."""
    return {check.name for check in trace.contradictions}


def elsewhere(record: Record) -> Record:
    """The same, but conntrack's entry leads to another of the three endpoints."""
    wrong = (
        "10.244.2.2" if not record.expected["backend"].startswith("10.244.2.2") else "10.244.2.3"
    )
    right = record.expected["backend"].partition(":")[0]
    before, after = record.data["conntrack"]
    return record.change(conntrack=[before, after.replace(f"src={right} ", f"src={wrong} ")])


@pytest.mark.parametrize("name", BACKENDS)
def test_another_endpoint_is_contradicted(name: str) -> None:
    """Counters, the kernel's own words and the Pod that answered say otherwise."""
    trace = elsewhere(Record.named(name)).trace()

    assert trace.exit_code == 1
    expected = {"kernel"} | ({"counters"} if name.startswith("iptables") else set())
    assert names(trace) == expected | {"answer"}


@pytest.mark.parametrize("name", BACKENDS)
def test_an_endpoint_that_no_rule_leads_to_is_contradicted(name: str) -> None:
    """The kernel's memory names an address that the rules do not have."""
    record = Record.named(name)
    right = record.expected["backend"].partition(":")[0]
    before, after = record.data["conntrack"]
    there = record.change(conntrack=[before, after.replace(f"src={right} ", "src=10.244.9.9 ")])

    trace = there.trace()

    assert trace.exit_code == 1
    assert "conntrack" in names(trace)
    assert "10.244.9.9:" in next(each.says for each in trace.checks if each.name == "conntrack")


@pytest.mark.parametrize("name", BACKENDS)
def test_another_pod_that_answered_is_contradicted(name: str) -> None:
    """Who answered is asked of the Pod itself."""
    record = Record.named(name)
    pods = {"web-648b4595bc-jk8qh", "web-648b4595bc-srdjs"} - {record.expected["pod"]}

    trace = record.change(answered_by=min(pods)).trace()

    assert names(trace) == {"answer"}
    assert trace.exit_code == 1
    assert min(pods) in trace.sentence


@pytest.mark.parametrize("name", BACKENDS)
def test_a_rule_that_the_kernel_did_not_name_is_contradicted(name: str) -> None:
    """Without the translation in what the kernel told, the trace is not proved."""
    record = Record.named(name)
    told = [line for line in record.data["told"] if "dnat" not in line]

    trace = record.change(told=told).trace()

    assert names(trace) == {"kernel"}
    assert [hop.told for hop in trace.hops].count(False) == 1


@pytest.mark.parametrize("chain", ["KUBE-SERVICES", "KUBE-SVC-", "KUBE-SEP-"])
def test_a_counter_that_stood_still_is_contradicted(chain: str) -> None:
    """Each line that the trace claims must have counted the packet."""
    record = Record.named("iptables-pod")
    changed = record.data["changed"]["iptables"]
    still = {number: line for number, line in changed.items() if f"-A {chain}" not in line}

    trace = record.change(changed={"iptables": still}).trace()

    assert len(still) < len(changed)
    assert names(trace) == {"counters"}
    assert trace.exit_code == 1


def test_a_service_whose_rule_was_removed_is_not_translated() -> None:
    """The way ends where no rule is, and it is not proved."""
    record = Record.named("iptables-pod")
    lines = record.text.splitlines(keepends=True)
    gone = [
        line
        for line in lines
        if not ("-A KUBE-SERVICES " in line and '"shop/web cluster IP"' in line)
    ]

    trace = record.with_text("".join(gone)).change(client=None, told=[], answered_by="").trace()

    assert len(gone) == len(lines) - 1
    assert trace.way.end == "untranslated"
    assert not [hop for hop in trace.hops if hop.hook == "prerouting"]
    assert trace.exit_code == 1
    assert "rules" in names(trace)
    assert "no rule of kube-proxy's" in trace.sentence


def test_an_element_that_was_removed_from_the_map_is_refused_by_the_next_rule() -> None:
    """nftables refuses what is a Service's address, but none of its ports."""
    record = Record.named("nftables-pod")
    document: dict[str, Any] = json.loads(record.text)
    for item in document["nftables"]:
        if item.get("map", {}).get("name") == "service-ips":
            item["map"]["elem"] = [
                each for each in item["map"]["elem"] if "shop/web/" not in json.dumps(each)
            ]

    trace = (
        record.with_text(json.dumps(document)).change(client=None, told=[], answered_by="").trace()
    )

    assert trace.way.end == "rejected"
    assert trace.hops[-1].chain == "cluster-ips-check"
    assert trace.exit_code == 1
    assert "rules" in names(trace)


def test_a_refusal_with_a_connection_is_contradicted() -> None:
    """What was refused has no connection."""
    lonely, pod = Record.named("iptables-lonely"), Record.named("iptables-pod")
    entry = pod.data["conntrack"][1].replace(pod.data["asked"][0], lonely.data["asked"][0])
    entry = entry.replace(pod.data["place"], lonely.data["place"])

    trace = lonely.change(conntrack=["", entry]).trace()

    assert "conntrack" in names(trace)


def test_a_pod_that_says_nothing_is_no_contradiction() -> None:
    """Not every backend says who it is; then the other proofs are all there is."""
    trace = Record.named("nftables-pod").change(answered_by="").trace()

    assert trace.contradictions == ()
    assert trace.proved
