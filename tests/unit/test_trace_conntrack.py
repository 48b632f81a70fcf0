"""conntrack's entries, as conntrack -L and /proc/net/nf_conntrack print them."""

from __future__ import annotations

import pytest

from servicelab.observe.unreadable import RulesUnreadable
from servicelab.trace.conntrack import new_connections, parse_conntrack
from servicelab.trace.packet import Endpoint

TRANSLATED = (
    "tcp      6 119 TIME_WAIT src=172.30.0.6 dst=10.96.202.228 sport=57424 dport=80 "
    "src=10.244.1.2 dst=172.30.0.6 sport=80 dport=63787 [ASSURED] mark=0 use=1\n"
)
UNREPLIED = (
    "udp      17 29 src=10.244.1.5 dst=10.96.0.10 sport=4000 dport=53 [UNREPLIED] "
    "src=10.244.0.2 dst=10.244.1.5 sport=53 dport=4000 mark=0 use=1\n"
)
OF_THE_KERNEL = (
    "ipv4     2 tcp      6 86399 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 "
    "src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [ASSURED] mark=0 zone=0 use=2\n"
)


def test_both_ways_of_a_connection_are_read() -> None:
    """The reply's source is the backend, its destination what the backend saw."""
    tcp, udp = parse_conntrack(TRANSLATED + UNREPLIED)

    assert (tcp.protocol, tcp.state) == ("tcp", "TIME_WAIT")
    assert tcp.original.destination == Endpoint("10.96.202.228", 80)
    assert tcp.backend == Endpoint("10.244.1.2", 80)
    assert tcp.masqueraded, "a node that masquerades its own packet changes the port only"
    assert not udp.masqueraded
    assert (udp.protocol, udp.state) == ("udp", "")
    assert udp.backend == Endpoint("10.244.0.2", 53)


def test_the_kernels_own_file_is_read_too() -> None:
    """It says the family first; what is not translated has no backend."""
    (found,) = parse_conntrack(OF_THE_KERNEL + "ipv6     10 tcp      6 1 X src=::1 dst=::1\n")

    assert found.state == "ESTABLISHED"
    assert found.backend is None


def test_other_protocols_are_left_out() -> None:
    """ICMP has no ports."""
    icmp = "icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=1 src=10.0.0.2 dst=10.0.0.1\n"

    assert parse_conntrack(icmp) == ()


@pytest.mark.parametrize(
    "line", [TRANSLATED[:100], TRANSLATED.replace("sport=80", "sport=x"), "tcp\n", "tcp 6 1 SYN\n"]
)
def test_what_is_cut_is_an_error_with_its_line(line: str) -> None:
    """It is not taken for another connection."""
    with pytest.raises(RulesUnreadable, match="conntrack line 2"):
        parse_conntrack(UNREPLIED + line)


def test_what_is_new_is_told_by_both_tuples() -> None:
    """A connection that only changed its state was there before."""
    before = parse_conntrack(TRANSLATED)
    after = parse_conntrack(TRANSLATED.replace("TIME_WAIT", "CLOSE") + UNREPLIED)

    assert [each.protocol for each in new_connections(before, after)] == ["udp"]
