"""Luck fails a right cluster, and passes a wrong one, as rarely as the statistics module says."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from math import comb

import pytest

from servicelab.verdict import statistics

LUCK = Fraction(1e-9)
SMALL = [(k, n) for k in (2, 3, 4) for n in range(1, 8)]


def every_trace(k: int, n: int) -> Iterator[tuple[int, ...]]:
    """All traces of n answers from k backends, each as likely as the other."""
    return product(range(k), repeat=n)


def share_of(holds: Iterator[bool], k: int, n: int) -> Fraction:
    return Fraction(sum(holds), k**n)


@pytest.mark.parametrize(("k", "n"), SMALL)
def test_chance_to_miss_one_is_that_of_all_traces(k: int, n: int) -> None:
    """The formula counts exactly the traces in which a backend is left out."""
    missing = (len(set(trace)) < k for trace in every_trace(k, n))

    assert statistics.chance_to_miss_one(k, n) == share_of(missing, k, n)


@pytest.mark.parametrize(("k", "n"), [(1, 1), (2, 31), (3, 54), (4, 77), (5, 101), (10, 219)])
def test_requests_to_see_all(k: int, n: int) -> None:
    """So many requests see all of k backends but for 1e-9, and one fewer does not."""
    assert statistics.requests_to_see_all(k) == n
    assert statistics.chance_to_miss_one(k, n) < LUCK
    assert k == 1 or statistics.chance_to_miss_one(k, n - 1) >= LUCK


@pytest.mark.parametrize(("k", "n"), [(2, 31), (3, 20), (4, 16)])
def test_equal_answers_for_affinity(k: int, n: int) -> None:
    """So many equal answers are luck with less than 1e-9, and one fewer is not enough."""
    assert statistics.equal_answers_for_affinity(k) == n
    assert Fraction(k, k**n) < LUCK <= Fraction(k, k ** (n - 1))


def test_affinity_to_one_backend_means_nothing() -> None:
    """With one backend every client gets it, so no number of answers shows affinity."""
    with pytest.raises(ValueError, match="at least 2"):
        statistics.equal_answers_for_affinity(1)


@pytest.mark.parametrize(("k", "n"), [(k, n) for k, n in SMALL if n > k])
def test_rotation_luck_is_that_of_all_traces(k: int, n: int) -> None:
    """The chance of a strict rotation is the share of traces that `rotation` accepts."""
    rotating = (bool(statistics.rotation(trace, k)) for trace in every_trace(k, n))

    assert statistics.rotation_luck(k, n) == share_of(rotating, k, n)


def test_21_answers_of_3_backends_tell_rotation_from_luck() -> None:
    """21 answers of 3 backends in rotation are luck with 5.7e-10; 20 would be with 1.7e-9."""
    assert statistics.requests_for_rotation(3) == 21
    assert float(statistics.rotation_luck(3, 21)) == pytest.approx(5.7e-10, rel=0.01)
    assert statistics.rotation_luck(3, 20) > LUCK


@pytest.mark.parametrize(
    ("trace", "why"),
    [
        ("abcabca", "7 answers in strict rotation over 3 backends"),
        ("abcabcb", "answer 7 came from b, not a"),
        ("aabbccaab", "the first 3 answers came from 2 backends"),
        ("abcd", "answer 4 came from d, not a"),
        ("abc", "3 answers can't show a rotation of 3 backends"),
    ],
)
def test_rotation_says_what_breaks_it(trace: str, why: str) -> None:
    """Only the same order again and again is rotation; the first answer out of turn is named."""
    found = statistics.rotation(trace, 3)

    assert bool(found) == ("strict" in why)
    assert str(found) == why


@pytest.mark.parametrize(("k", "n"), [(2, 6), (2, 9), (3, 6), (3, 8), (4, 7)])
@pytest.mark.parametrize("error", [0.3, 0.05, 0.01])
def test_fair_shares_fail_as_rarely_as_promised(k: int, n: int, error: float) -> None:
    """Among all traces of a fair Service, less than `error` are judged unfair."""
    low, high = statistics.share_bounds(k, n, error)
    failing = (
        any(not low <= trace.count(backend) <= high for backend in range(k))
        for trace in every_trace(k, n)
    )

    assert share_of(failing, k, n) < Fraction(error)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_share_bounds_are_binomial_quantiles(k: int) -> None:
    """The bounds are the tightest whose tails are within the error, as scipy computes them too."""
    from scipy.stats import binom

    n = 200
    low, high = statistics.share_bounds(k, n, 1e-6)
    tail = 1e-6 / (2 * k)

    assert binom.cdf(low - 1, n, 1 / k) < tail <= binom.cdf(low, n, 1 / k)
    assert binom.sf(high, n, 1 / k) < tail <= binom.sf(high - 1, n, 1 / k)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_half_a_share_is_noticed(k: int) -> None:
    """With the requests asked for, a backend with half its due passes with less than 1e-9."""
    from scipy.stats import binom

    n = statistics.requests_for_shares(k)
    low, high = statistics.share_bounds(k, n)

    assert binom.sf(low - 1, n, 0.5 / k) < 1e-9
    assert k * (binom.cdf(low - 1, n, 1 / k) + binom.sf(high, n, 1 / k)) < 1e-9


def test_the_number_for_shares_is_not_wasteful() -> None:
    """A tenth fewer requests would let half a share pass."""
    from scipy.stats import binom

    n = statistics.requests_for_shares(3) * 9 // 10
    low, _ = statistics.share_bounds(3, n)

    assert binom.sf(low - 1, n, 0.5 / 3) > 1e-9


def test_binomial_tails_are_those_of_all_traces() -> None:
    """The chance behind the power figure is the sum over the traces it stands for."""
    exact = sum(Fraction(comb(7, i) * 5 ** (7 - i), 6**7) for i in range(3))

    assert statistics.at_most(2, 7, Fraction(1, 6)) == exact


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({"a": 500, "b": 495}, "a 500, b 495 of 995 answers; each of 3 equal backends gives 241"),
        ({"a": 340, "b": 330, "c": 325, "d": 1}, "4 backends answered, not 3"),
        ({"a": 200, "b": 400, "c": 395}, "a 200, b 400, c 395 of 995 answers"),
        ({"a": 30, "b": 30, "c": 30}, "90 answers can't show the shares of 3 backends: 995 do"),
        ({}, "0 answers can't show the shares"),
    ],
)
def test_wrong_shares_are_told(counts: dict[str, int], why: str) -> None:
    """A silent backend, a foreign one, a poor one and too few answers all fail, in words."""
    found = statistics.shares_within_bounds(counts, 3)

    assert not found
    assert why in str(found)


def test_equal_shares_pass() -> None:
    """A Service whose backends answered about as often is judged fair."""
    assert statistics.shares_within_bounds({"a": 340, "b": 320, "c": 335}, 3)


@pytest.mark.parametrize(("k", "n"), [(2, 9), (2, 12), (3, 8), (3, 9)])
@pytest.mark.parametrize("error", [0.3, 0.1])
def test_random_traces_fail_as_rarely_as_promised(k: int, n: int, error: float) -> None:
    """Among all traces, less than `error` are called not random."""
    assert n >= statistics.requests_to_look_random(k, error)
    failing = (not statistics.looks_random(trace, k, error) for trace in every_trace(k, n))

    assert share_of(failing, k, n) < Fraction(error)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_order_is_noticed(k: int) -> None:
    """With the answers asked for, rotation, its reverse and stickiness are never called random."""
    n = statistics.requests_to_look_random(k)
    turns = [number % k for number in range(n)]

    assert not statistics.looks_random(turns, k)
    assert not statistics.looks_random(turns[::-1], k)
    assert not statistics.looks_random([0] * n, k)
    assert "can't show" in str(statistics.looks_random(turns[: n - 1], k))


def test_what_order_was_seen_is_told() -> None:
    """The reason names the distance, the count and what chance would give."""
    found = statistics.looks_random("abc" * 10, 3)

    assert not found
    assert str(found) == "27 of 27 answers equal the one 3 before; random choice gives 0 to 25"


def test_a_random_trace_is_told_as_counts() -> None:
    """A trace without order passes, and its counts are in the words."""
    import random

    trace = random.Random(7).choices("abc", k=60)
    found = statistics.looks_random(trace, 3)

    assert found
    assert "60 answers show no order: a " in str(found)


def test_a_foreign_backend_is_not_random() -> None:
    """An answer from a backend that should not be there is no random choice among the others."""
    assert not statistics.looks_random("abcdabdcba" * 5, 3)
