"""Cut and garbled recordings: a part of the same model, or RulesUnreadable."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from servicelab.observe.iptables import parse_iptables
from servicelab.observe.model import ServiceRule
from servicelab.observe.nftables import parse_nftables
from servicelab.observe.unreadable import RulesUnreadable

SAMPLES = Path(__file__).parent / "rules"
SEED = 20  # any; fixed, so that a failure comes back
JUNK = ["", "?", '"', "'", "{", "\\", "0", "-1", "null", "-j", "KUBE-SVC-NOWHERE", "@", "é", "\0"]

Parse = Callable[[str], tuple[ServiceRule, ...]]
CASES = [
    pytest.param(parse_iptables, "iptables-worker.txt", id="iptables"),
    pytest.param(parse_iptables, "iptables-control-plane.txt", id="iptables-no-local"),
    pytest.param(parse_nftables, "nftables-worker.json", id="nftables"),
    pytest.param(parse_nftables, "nftables-control-plane.json", id="nftables-no-local"),
]
NODE_PORTS_LINE = (
    '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the '
    'last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n'
)
FEWEST_REFUSED = 20  # lines; below that a test would hardly have damaged anything


def damaged(parse: Parse, text: str) -> tuple[ServiceRule, ...] | None:
    """What is read out of a damaged text; None if it is refused, as it should be."""
    try:
        return parse(text)
    except RulesUnreadable:
        return None


def may_be_missed(lines: list[str], at: int) -> bool:
    """Say whether nothing else in the text tells that a line is missing.

    That is so for the first endpoint of a chain of local endpoints: those that are left have
    equal shares again, and the endpoint's own chain is used by the chain of all endpoints.
    """
    chain = lines[at].split(" ")[1] if lines[at].startswith("-A KUBE-SVL-") else ""
    first = [line for line in lines if line.startswith(f"-A {chain} ") and " -> " in line][:1]
    return bool(chain) and first == [lines[at]]


def check_part(found: tuple[ServiceRule, ...] | None, whole: tuple[ServiceRule, ...]) -> bool:
    """Say whether the text was refused; what wasn't has no rule that the whole hasn't."""
    if found is None:
        return True
    assert set(found) <= set(whole)
    return False


@pytest.mark.parametrize(("parse", "sample"), CASES)
def test_a_text_cut_at_any_line_is_refused_or_whole(parse: Parse, sample: str) -> None:
    """No beginning of a recording shows a rule that the whole one hasn't."""
    text = (SAMPLES / sample).read_text()
    lines = text.splitlines(keepends=True)
    whole = parse(text)

    refused = [check_part(damaged(parse, "".join(lines[:end])), whole) for end in range(len(lines))]

    # Only a trailing comment or the like may be missing.
    assert sum(refused) >= len(lines) - 2


@pytest.mark.parametrize(("parse", "sample"), CASES)
@pytest.mark.parametrize("times", [0, 2])
def test_a_line_left_out_or_said_twice_makes_no_new_rule(
    parse: Parse, sample: str, times: int
) -> None:
    """Without any one line, or with it twice, there is no backend with another share."""
    text = (SAMPLES / sample).read_text()
    lines = text.splitlines(keepends=True)
    whole = parse(text)

    refused = [
        check_part(damaged(parse, "".join([*lines[:at], *[line] * times, *lines[at + 1 :]])), whole)
        for at, line in enumerate(lines)
        if times or not may_be_missed(lines, at)
    ]

    assert sum(refused) >= FEWEST_REFUSED


@pytest.mark.parametrize(("parse", "sample"), CASES)
def test_a_line_cut_anywhere_makes_no_new_rule(parse: Parse, sample: str) -> None:
    """Each line in turn ends early, at several places."""
    text = (SAMPLES / sample).read_text()
    lines = text.splitlines()
    whole = parse(text)
    dice = random.Random(SEED)

    refused = 0
    for at, line in enumerate(lines):
        for end in {dice.randrange(len(line) + 1) for _ in range(2)}:
            shorter = "\n".join([*lines[:at], line[:end], *lines[at + 1 :]]) + "\n"
            refused += check_part(damaged(parse, shorter), whole)

    assert refused >= FEWEST_REFUSED


@pytest.mark.parametrize(("parse", "sample"), CASES)
def test_junk_in_place_of_a_word_leads_to_no_other_backend(parse: Parse, sample: str) -> None:
    """A wrong word may hide or rename a rule, but never send its packets elsewhere."""
    text = (SAMPLES / sample).read_text()
    lines = text.splitlines()
    whole = {(r.protocol, r.ip, r.port): r.backends for r in parse(text)}
    dice = random.Random(SEED)

    refused = 0
    for at, line in enumerate(lines):
        words = line.split(" ")
        for _ in range(2):
            place = dice.randrange(len(words))
            changed = " ".join([*words[:place], dice.choice(JUNK), *words[place + 1 :]])
            found = damaged(parse, "\n".join([*lines[:at], changed, *lines[at + 1 :]]) + "\n")
            if found is None:
                refused += 1
                continue
            for rule in found:
                key = (rule.protocol, rule.ip, rule.port)
                assert rule.backends == whole.get(key, rule.backends)
                assert rule.backends in whole.values()

    assert refused >= FEWEST_REFUSED


def parts(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: its container and its key."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from parts(inner)


@pytest.mark.parametrize("junk", [None, [], {}, "x", True, -1, 1.5, [1], {"goto": {}}])
def test_any_value_of_the_json_may_be_junk(junk: object) -> None:
    """Junk in place of any JSON value is refused or ignored; no other exception, no new backend."""
    text = (SAMPLES / "nftables-worker.json").read_text()
    whole = set(parse_nftables(text))
    document = json.loads(text)
    dice = random.Random(SEED)
    places = list(parts(document))

    refused = 0
    for container, key in dice.sample(places, 250):
        kept = container[key]
        container[key] = junk
        found = damaged(parse_nftables, json.dumps(document))
        container[key] = kept
        refused += check_part(found, tuple(whole))

    assert refused >= FEWEST_REFUSED


def other(parse: Parse, sample: str, old: str, new: str) -> str:
    """The error that a change in a recording leads to."""
    text = (SAMPLES / sample).read_text()
    assert old in text
    with pytest.raises(RulesUnreadable) as raised:
        parse(text.replace(old, new, 1))
    return str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("--probability 0.33333333349", "--probability 0.25", "has not an equal share"),
        ("--mode random", "--mode nth", "isn't random"),
        (
            "--to-destination 10.244.1.3:8081",
            "--to-destination 10.244.1.4:8081",
            "another endpoint",
        ),
        ("--rcheck --seconds 10", "--rcheck --seconds 11", "differ in their endpoints or seconds"),
        (NODE_PORTS_LINE, "", "nothing leads to KUBE-NODEPORTS"),
        ("-A KUBE-SERVICES -d 10.96.0.1/32", "-A KUBE-SERVICES -d 10.96.0.0/24", "more than one"),
        ("has no endpoints", "is lazy", "nor a DROP with its reason"),
        ("*filter", "*other", "table filter"),
        (
            '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
            "-A PREROUTING -j OTHER",
            "nothing in PREROUTING",
        ),
    ],
)
def test_iptables_that_mean_something_else_are_named(old: str, new: str, says: str) -> None:
    """The message says what is wrong, and where."""
    assert says in other(parse_iptables, "iptables-worker.txt", old, new)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"mod": 3', '"mod": 4', "not a choice among as many"),
        ('"mode": "random"', '"mode": "symhash"', "not a choice among as many"),
        ('"dnat": {"addr": "10.244.1.3"', '"dnat": {"addr": "10.244.1.4"', "it is named after"),
        ('"timeout": 10', '"timeout": 11', "differ in their endpoints or seconds"),
        ('"timeout": 10', '"size": 1', "no time-out"),
        ('"data": "@service-ips"', '"data": "@others"', "doesn't look into service-ips"),
        ('"name": "kube-proxy"', '"name": "other"', "not an object of the table"),
        ('"comment": "observe/lonely:http"', '"comment": "lonely"', "not the name"),
        (
            '[{"concat": ["10.96.0.1", "tcp", 443]}',
            '[{"concat": ["10.96.0.1", 443]}',
            "not the key",
        ),
    ],
)
def test_nftables_that_mean_something_else_are_named(old: str, new: str, says: str) -> None:
    """The message says what is wrong, and where."""
    assert says in other(parse_nftables, "nftables-worker.json", old, new)


@pytest.mark.parametrize("parse", [parse_iptables, parse_nftables])
@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "*nat\nCOMMIT\n", "{}", "[]", '{"nftables": []}']
)
def test_nothing_is_not_no_rules(parse: Parse, text: str) -> None:
    """A node without kube-proxy's rules isn't a node without Services."""
    with pytest.raises(RulesUnreadable):
        parse(text)
