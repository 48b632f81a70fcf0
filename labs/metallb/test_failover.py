"""The announcing node dies, and another one takes its addresses over."""

from __future__ import annotations

import time

import pytest

from servicelab import claim, eventually
from servicelab.cluster.node_death import dead
from servicelab.metallb import vip
from servicelab.vantage.outage import longest_outage
from servicelab.verdict import Missing, deadlines

AGAIN = 20
"""Answers in a row, one each 50 ms, after which the address counts as taken over."""


@claim("LB-07")
@pytest.mark.disruptive
def test_another_node_takes_the_address_over(lab, expose, cluster, outside, neighbours, verdict):
    """Power fails on the announcer: another node claims the address in ARP, and traffic goes on."""
    steady = expose(lab, "steady.yaml", "steady")
    first = vip.wait_for_announcer(steady.service)

    with (
        outside.watch_arp(steady.address) as heard,
        outside.continuously_web(steady.url, every=0.05, timeout=0.3) as client,
        dead(cluster, first),
    ):
        killed = time.time()

        def answers_again(replies) -> bool | Missing:
            late = [reply for reply in replies if reply.started > killed]
            ok = len(late) == AGAIN and all(reply.ok for reply in late)
            return ok or Missing("not every one of the last answers")

        eventually(
            lambda: client.so_far(last=AGAIN),
            answers_again,
            deadline=deadlines.current().vip_moves,
            expecting=f"{steady.url} to answer again after {first} died",
            asked_from=outside.name,
            tell=str,
        )
        (second,) = neighbours.claimants(steady.address)

    assert second != first, f"{first} is dead, and still claims the address"
    told = {neighbours.name(each.packets[0].sender_mac) for each in heard.replies if each.packets}
    assert second in told, f"{second} told nobody that it has the address now; ARP had {told}"
    outage = longest_outage(client.replies)
    verdict.holds(
        f"{second} took {steady.address} over from {first}; traffic stopped for "
        f"{outage.seconds:.1f} s, {outage.lost} requests were lost"
    )
    # The dead node is back: it announces again, as the hash of its name and the address says.
    eventually(
        lambda: neighbours.claimants(steady.address),
        lambda found: found == [first],
        deadline=deadlines.current().vip_moves,
        expecting=f"{first}, started again, to announce {steady.address} again",
        asked_from=outside.name,
    )
