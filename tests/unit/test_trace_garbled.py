"""Cut and garbled recordings: the same way, a way that is contradicted, or an error with its line.

Never a proved way to another endpoint.
"""

from __future__ import annotations

import json
import random

import pytest

from servicelab.observe.unreadable import RulesUnreadable

from .trace_records import Record

SEED = 20  # any; fixed, so that a failure comes back
JUNK = ["", "?", '"', "{", "0", "-1", "null", "-j", "KUBE-SVC-NOWHERE", "10.244.9.9:80", "@", "é"]
NAMES = ["iptables-outside", "iptables-sticky", "nftables-outside", "nftables-sticky"]
TURNS = 150


def check(record: Record, expected: str) -> bool:
    """Whether the text was refused; what wasn't leads where it led, or is contradicted."""
    try:
        trace = record.trace()
    except RulesUnreadable:
        return True
    if trace.proved and trace.backend:
        assert str(trace.backend.address) == expected
    return False


@pytest.mark.parametrize("name", NAMES)
def test_junk_in_place_of_a_word_never_proves_another_endpoint(name: str) -> None:
    """Any word may be any other."""
    record = Record.named(name)
    lines = record.text.splitlines()
    dice = random.Random(SEED)

    refused = 0
    for _ in range(TURNS):
        at = dice.randrange(len(lines))
        words = lines[at].split(" ")
        words[dice.randrange(len(words))] = dice.choice(JUNK)
        text = "\n".join([*lines[:at], " ".join(words), *lines[at + 1 :]]) + "\n"
        refused += check(record.with_text(text), record.expected["backend"])

    assert refused > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_text_cut_anywhere_never_proves_another_endpoint(name: str) -> None:
    """No beginning of a recording does."""
    record = Record.named(name)
    dice = random.Random(SEED)

    ends = [dice.randrange(len(record.text)) for _ in range(TURNS)]
    expected = record.expected["backend"]
    refused = [check(record.with_text(record.text[:end]), expected) for end in ends]

    # iptables-save ends with COMMIT and a comment, JSON with its bracket.
    assert sum(refused) >= TURNS - 2


@pytest.mark.parametrize("name", [each for each in NAMES if each.startswith("iptables")])
def test_a_line_left_out_or_said_twice_never_proves_another_endpoint(name: str) -> None:
    """Each line of the way in turn."""
    record = Record.named(name)
    lines = record.text.splitlines(keepends=True)
    on_the_way = [
        at
        for at, line in enumerate(lines)
        if any(f"-A {chain} " in line for chain in record.expected["chains"])
    ]

    for at in on_the_way:
        for times in (0, 2):
            text = "".join([*lines[:at], *[lines[at]] * times, *lines[at + 1 :]])
            check(record.with_text(text), record.expected["backend"])


@pytest.mark.parametrize("name", [each for each in NAMES if each.startswith("nftables")])
def test_an_nftables_rule_left_out_never_proves_another_endpoint(name: str) -> None:
    """Each rule in turn."""
    record = Record.named(name)
    objects = json.loads(record.text)["nftables"]

    for at, item in enumerate(objects):
        if "rule" in item:
            text = json.dumps({"nftables": [*objects[:at], *objects[at + 1 :]]})
            check(record.with_text(text), record.expected["backend"])


def test_an_unknown_option_on_the_way_is_an_error_with_its_line() -> None:
    """A learner is told which line is not as kube-proxy writes it."""
    record = Record.named("iptables-pod")
    number = next(
        at for at, line in enumerate(record.text.splitlines(), 1) if "-A KUBE-SEP-FGH6" in line
    )
    lines = record.text.splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(" -s ", " --gone ")

    with pytest.raises(RulesUnreadable, match=f"iptables-save line {number}: unknown option"):
        record.with_text("".join(lines)).trace()


def test_an_unknown_statement_on_the_way_is_an_error_with_its_rule() -> None:
    """nftables has no lines, but chains and handles."""
    record = Record.named("nftables-pod")
    document = json.loads(record.text)
    rule = next(
        item["rule"]
        for item in document["nftables"]
        if item.get("rule", {}).get("chain") == "service-452DNVGS-shop/web/tcp/"
    )
    rule["expr"].append({"queue": None})

    with pytest.raises(RulesUnreadable, match=f"service-452DNVGS.*handle {rule['handle']}"):
        record.with_text(json.dumps(document)).trace()
