"""What the kernel tells of a traced packet, as `nft --handle monitor` prints it."""

from __future__ import annotations

from servicelab.trace.hop import Hop
from servicelab.trace.kernel_told import parse_told, told_of, with_told
from servicelab.trace.packet import Endpoint

PACKET = (
    'trace id 1adce009 ip nat OUTPUT packet: oif "eth0" ip saddr 172.30.0.6 ip daddr 10.96.2.8 '
    "ip dscp cs0 ip ecn not-ect ip ttl 64 ip id 37169 ip length 60 tcp sport 57424 tcp dport 80 "
    "tcp flags == syn tcp window 64240"
)
TRANSLATED = PACKET.replace("nat OUTPUT", "filter OUTPUT").replace("10.96.2.8", "10.244.1.2")
JUMP = (
    "trace id 1adce009 ip nat OUTPUT rule  counter packets 9 bytes 606 jump KUBE-SERVICES "
    "# handle 17 (verdict jump KUBE-SERVICES)"
)
DNAT = (
    "trace id 1adce009 ip nat KUBE-SEP-A rule meta l4proto tcp   counter packets 0 bytes 0 dnat to "
    "10.244.1.2:80 # handle 261 (verdict accept)"
)
UNKNOWN = "trace id 1adce009 ip mine output unknown rule handle 4 (verdict continue)"
NOISE = "add table ip mine # handle 11\n# new generation 95 by process 31564 (nft)".splitlines()
SOURCE, ASKED = Endpoint("172.30.0.6", 57424), Endpoint("10.96.2.8", 80)


def hop(chain: str, verdict: str, handle: int = 0) -> Hop:
    """A hop of the table nat."""
    return Hop("output", "nat", chain, "", "", "", verdict, handle=handle)


def test_rules_and_ends_are_read_and_all_else_is_not() -> None:
    """Of each packet: the rules with their verdicts, and where it came from and went."""
    (told,) = parse_told([*NOISE, UNKNOWN, PACKET, JUMP, DNAT, TRANSLATED])

    assert [(step.chain, step.handle, step.verdict) for step in told.steps] == [
        ("output", 4, "continue"),
        ("OUTPUT", 17, "jump KUBE-SERVICES"),
        ("KUBE-SEP-A", 261, "accept"),
    ]
    assert told.ends == [(SOURCE, ASKED), (SOURCE, Endpoint("10.244.1.2", 80))]
    assert told.destination == Endpoint("10.244.1.2", 80)


def test_the_packet_is_found_by_its_source_port() -> None:
    """Others may ask the same at the same time."""
    other = [line.replace("1adce009", "2").replace("57424", "1") for line in (PACKET, JUMP)]
    told = parse_told([*other, PACKET, DNAT])

    found = told_of(told, SOURCE, ASKED)

    assert found is not None
    assert found.id == "1adce009"
    assert told_of(told, Endpoint("172.30.0.6", 9), ASKED) is None
    assert told_of(told, None, Endpoint("10.96.2.8", 81)) is None


def test_hops_are_told_in_order() -> None:
    """A rule that the kernel named before the one ahead of it was not met after it."""
    (told,) = parse_told([PACKET, JUMP, DNAT])
    jump, dnat = hop("OUTPUT", "jump KUBE-SERVICES"), hop("KUBE-SEP-A", "dnat 10.244.1.2:80")

    assert [each.told for each in with_told([jump, dnat], told)] == [True, True]
    assert [each.told for each in with_told([dnat, jump], told)] == [True, False]
    assert [each.told for each in with_told([dnat, jump], told, certain=False)] == [True, None]
    assert [each.told for each in with_told([jump], None)] == [None]


def test_a_handle_must_be_the_same() -> None:
    """nftables rules are told apart by it, not by what they do."""
    (told,) = parse_told([PACKET, JUMP])

    assert with_told([hop("OUTPUT", "x", handle=17)], told)[0].told is True
    assert with_told([hop("OUTPUT", "jump KUBE-SERVICES", handle=18)], told)[0].told is False


def test_a_line_that_is_cut_tells_nothing() -> None:
    """Nothing is taken for told that was not."""
    for end in range(len(DNAT)):
        for told in parse_told([PACKET, DNAT[:end]]):
            assert not told.steps
