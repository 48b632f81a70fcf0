"""Medians, slopes and pairs lead astray as rarely as the quantities module says."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, permutations, product
from random import Random

import pytest
from scipy.stats import binom

from servicelab.verdict import quantities
from servicelab.verdict.quantities import Bounds


def test_values_for_quantile() -> None:
    """All of 31 values lie on one side of their median with less than 1e-9, all of 30 do not."""
    assert quantities.values_for_quantile() == 31
    assert Fraction(2, 2**31) < Fraction(1e-9) <= Fraction(2, 2**30)
    assert quantities.values_for_quantile(error=0.3) == 3


@pytest.mark.parametrize(("n", "error"), [(3, 0.3), (5, 0.4), (8, 0.1), (9, 0.05)])
def test_bounds_miss_the_median_as_rarely_as_they_say(n: int, error: float) -> None:
    """Of all ways in which n values fall below or above the median, the bounds miss too few."""
    missed = 0
    for sides in product((-1, 1), repeat=n):
        # Each value on its side of the median, which is 0.
        values = [side * (number + 1) for number, side in enumerate(sides)]
        bounds = quantities.quantile_bounds(values, error=error)
        missed += not bounds.low <= 0 <= bounds.high

    assert Fraction(missed, 2**n) < Fraction(error)


def test_bounds_of_a_median_are_the_narrowest() -> None:
    """One rank further in would miss more often than the error allows."""
    bounds = quantities.quantile_bounds(range(1, 1001))
    rank = int(bounds.low)

    assert bounds == Bounds(rank, 501, 1001 - rank)
    assert binom.cdf(rank - 1, 1000, 0.5) < 5e-10 <= binom.cdf(rank, 1000, 0.5)


def test_bounds_of_a_tenth() -> None:
    """The ranks are those that the binomial leaves out with half the error on each side."""
    bounds = quantities.quantile_bounds(range(1, 601), Fraction(1, 10))
    low, high = int(bounds.low), int(bounds.high)

    assert binom.cdf(low - 1, 600, 0.1) < 5e-10 <= binom.cdf(low, 600, 0.1)
    assert binom.sf(high - 1, 600, 0.1) < 5e-10 <= binom.sf(high - 2, 600, 0.1)
    assert quantities.values_for_quantile(Fraction(1, 10)) == 204


def test_order_does_not_matter() -> None:
    """Values in any order have the same bounds."""
    found = {
        quantities.quantile_bounds(order, error=0.3) for order in permutations((3.0, 1.0, 2.0, 9.0))
    }

    assert len(found) == 1


def test_too_few_values_have_no_bounds() -> None:
    """With 30 values nothing is said, and the sentence says how many it takes."""
    with pytest.raises(ValueError, match="30 values do not bound this quantile: 31 do"):
        quantities.quantile_bounds(range(30))


def test_slope_of_a_line() -> None:
    """Values that grow by 2 for each unit have that slope, within bounds around it."""
    noise = Random(7)
    by_size = {
        size: [5 + 2 * size + noise.gauss(0, 1) for _ in range(400)] for size in (0, 10, 25, 50)
    }

    found = quantities.slope(by_size)

    assert found.low < 2 < found.high
    assert abs(found.middle - 2) < 0.02
    assert found.high - found.low < 0.1


def test_slope_of_two_sizes_is_that_of_their_bounds() -> None:
    """The steepest and the flattest line between two medians bound the slope."""
    by_size = {0: list(range(40)), 10: list(range(100, 140))}
    low, high = (quantities.quantile_bounds(values, error=5e-10) for values in by_size.values())

    found = quantities.slope(by_size)

    assert found.low == pytest.approx((high.low - low.high) / 10)
    assert found.middle == pytest.approx(10)
    assert found.high == pytest.approx((high.high - low.low) / 10)


def test_one_size_has_no_slope() -> None:
    """A line through one point may have any slope."""
    with pytest.raises(ValueError, match="no slope"):
        quantities.slope({10: [1.0] * 40})


@pytest.mark.parametrize(("n", "told"), [(16, False), (17, True)])
def test_fewest_values_that_tell_which_is_lesser(n: int, told: bool) -> None:
    """17 values below 17 others are no luck, 16 below 16 may be."""
    one, other = list(range(n)), list(range(n, 2 * n))

    assert (quantities.lesser(one, other) is not None) is told
    if told:
        assert str(quantities.lesser(one, other)) == "less in 100% of all pairs"
        assert str(quantities.lesser(other, one)) == "more in 100% of all pairs"
        assert quantities.lesser(one, other)
        assert not quantities.lesser(other, one)


def test_samples_that_overlap_a_little_are_told_apart() -> None:
    """Two disturbed values among 40 do not hide the difference."""
    one = [1.0 + number / 100 for number in range(38)] + [9.0, 9.1]
    other = [2.0 + number / 100 for number in range(40)]

    assert quantities.lesser(one, other)


@pytest.mark.parametrize(
    "values", [(1, 2, 3, 4, 5, 6, 7), (1, 1, 2, 2, 2, 3, 3), (0, 0, 0, 0, 0, 0, 9)]
)
def test_ranks_are_dealt_out_as_rarely_as_they_say(values: tuple[int, ...]) -> None:
    """Of all ways to deal values out, ties included, those that are told are fewer than the
    error."""
    deals = list(combinations(range(7), 3))
    told = sum(
        quantities.lesser(
            [values[n] for n in deal], [values[n] for n in range(7) if n not in deal], 0.2
        )
        is not None
        for deal in deals
    )

    assert Fraction(told, len(deals)) < Fraction(0.2)


def test_the_exact_distribution_of_ranks() -> None:
    """The smallest rank sums come about in as many ways as there are partitions."""
    ways = quantities._ways([2 * rank for rank in range(1, 9)], 3)

    assert ways[12:21:2] == [1, 1, 2, 3, 4]
    assert sum(ways) == 56


@pytest.mark.parametrize(("less", "more", "told"), [(41, 0, True), (0, 41, False), (20, 21, None)])
def test_first_is_less(less: int, more: int, told: bool | None) -> None:
    """All of 41 pairs tell which is less; half of them tell nothing."""
    found = quantities.first_is_less([(1, 2)] * less + [(2, 1)] * more)

    assert (None if found is None else found.holds) is told


def test_equal_pairs_count_for_neither() -> None:
    """Where all are equal there is nothing to tell, and they hide no difference."""
    assert quantities.first_is_less([(1, 1)] * 100) is None
    assert quantities.first_is_less([(1, 1)] * 100 + [(1, 2)] * 31) is not None


@pytest.mark.parametrize("n", range(1, 12))
def test_luck_tells_a_difference_as_rarely_as_it_says(n: int) -> None:
    """Among all outcomes of n fair pairs, those that are told are fewer than the error."""
    outcomes = product(((1, 2), (2, 1)), repeat=n)
    told = sum(quantities.first_is_less(pairs, 0.1) is not None for pairs in outcomes)

    assert Fraction(told, 2**n) < Fraction(0.1)


@pytest.mark.parametrize(("often", "n"), [(99, 70), (95, 109), (90, 164), (75, 531)])
def test_pairs_to_tell(often: int, n: int) -> None:
    """So many pairs tell what is less in so many of a hundred, but for 1e-9."""
    assert quantities.pairs_to_tell(Fraction(often, 100)) == n

    most_by_luck = binom.isf(5e-10, n, 0.5)
    assert binom.cdf(most_by_luck, n, often / 100) < 1e-9


@pytest.mark.parametrize("often", [Fraction(1, 2), Fraction(1)])
def test_what_is_not_less_can_not_be_told(often: Fraction) -> None:
    """A share of one half is no difference; what is always less needs no chance to be wrong."""
    with pytest.raises(ValueError, match="between 1/2 and 1"):
        quantities.pairs_to_tell(often)
