"""Balancing: who answers, how often, and in which order."""

from __future__ import annotations

from servicelab import claim
from servicelab.verdict import statistics


@claim("CIP-08")
def test_requests_are_spread_over_all_pods(pages):
    """A curl loop gets web1 and web2, each with a share as even balancing gives it."""
    replies = pages.client.web(pages.service.url, times=statistics.requests_for_shares(2))

    assert replies.ok, f"some were not answered: {replies.error_counts()}"
    spread = statistics.shares_within_bounds(replies.counts(), 2)
    assert spread, spread.why
    assert set(replies.pods) == {"web1", "web2"}


@claim("CIP-09")
def test_round_robin_is_how_a_service_balances(web, verdict):
    """Three Pods take turns, one connection after the other."""
    enough = max(statistics.requests_for_rotation(3), statistics.requests_to_look_random(3))
    trace = web.client.web(web.service.url, times=enough).pods

    assert len(trace) == enough, f"only {len(trace)} of {enough} requests were answered"
    in_turn = statistics.rotation(trace, 3)
    at_random = statistics.looks_random(trace, 3)
    if in_turn:
        verdict.holds(in_turn.why)
    else:
        assert at_random, f"neither in turn nor at random: {at_random.why}"
        verdict.false(at_random.why)
