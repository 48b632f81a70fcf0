"""What measured times and sizes show: their quantiles, how they grow, which of two is less.

Exact, as `statistics` is: nothing is assumed about how values are spread, only that each is
independent of the others. `error` is the chance that luck alone leads astray.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import count
from statistics import fmean

from servicelab.verdict.statistics import ERROR, Judgement, at_most, binomial_bounds

HALF = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A quantity, and what it lies between.

    Attributes:
        low: the least that it may be.
        middle: the best guess.
        high: the most that it may be.
    """

    low: float
    middle: float
    high: float


def quantile_bounds(
    values: Sequence[float], share: Fraction = HALF, error: float = ERROR
) -> Bounds:
    """The quantile of what the values were drawn from, by their order alone.

    So many of n values are below the true median as so many of n coins show heads: the ranks that
    the binomial leaves out on each side bound it. Any other quantile likewise.

    Args:
        values: at least `values_for_quantile(share, error)`.
        share: of the values that are below the quantile.
        error: the chance that the quantile is outside.

    Raises:
        ValueError: too few values.
    """
    if len(values) < (needed := values_for_quantile(share, error)):
        raise ValueError(f"{len(values)} values do not bound this quantile: {needed} do")
    low, high = binomial_bounds(len(values), share, Fraction(error) / 2)
    ordered = sorted(values)
    return Bounds(ordered[low - 1], ordered[round(share * (len(values) - 1))], ordered[high])


@lru_cache
def values_for_quantile(share: Fraction = HALF, error: float = ERROR) -> int:
    """The fewest values that bound a quantile: 31 for a median and 1e-9, 204 for a tenth.

    All n values lie on one side of it with the chance share**n, on the other with (1 - share)**n.
    """
    rarest = max(share, 1 - share)
    return next(n for n in count(1) if rarest**n < Fraction(error) / 2)


def slope(
    by_size: Mapping[int, Sequence[float]], share: Fraction = HALF, error: float = ERROR
) -> Bounds:
    """By how much a quantile of the values grows with each unit of size.

    The line is that of least squares through the quantiles; its slope is a weighted sum of them, so
    the bounds of them all, the error split among them, bound it.

    Args:
        by_size: for two sizes or more, the values that were measured at each.
        share: which quantile.
        error: the chance that the slope is outside.

    Raises:
        ValueError: a single size, or too few values at one.
    """
    if len(by_size) < 2:
        raise ValueError("one size has no slope")
    middle = fmean(by_size)
    spread = sum((size - middle) ** 2 for size in by_size)
    low = best = high = 0.0
    for size, values in by_size.items():
        bounds = quantile_bounds(values, share, error / len(by_size))
        weight = (size - middle) / spread
        ends = sorted((weight * bounds.low, weight * bounds.high))
        low, best, high = low + ends[0], best + weight * bounds.middle, high + ends[1]
    return Bounds(low, best, high)


def lesser(one: Sequence[float], other: Sequence[float], error: float = ERROR) -> Judgement | None:
    """Is the first sample made of lesser values than the second?

    The rank sum test of Wilcoxon, Mann and Whitney, exact, ties included: if it is all the same,
    every way to deal the values out to the two samples is as likely as any other. 17 values each
    are the fewest that tell; where the samples overlap it takes more.

    Args:
        one, other: values that were measured in turns.
        error: the chance to see a difference where there is none.

    Returns:
        The answer with its reason; None if luck may have decided.
    """
    ranks = _double_ranks([*one, *other])
    seen = sum(ranks[: len(one)])
    ways = _ways(ranks, len(one))
    limit = Fraction(error) / 2 * sum(ways)
    at_most, at_least = sum(ways[: seen + 1]), sum(ways[seen:])
    if min(at_most, at_least) >= limit:
        return None
    less = at_most < limit
    those = sum((each < than) if less else (each > than) for each in one for than in other)
    share = those / (len(one) * len(other))
    return Judgement(less, f"{'less' if less else 'more'} in {share:.0%} of all pairs")


def _double_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each value from 1 on; equal ones share theirs, hence twice."""
    ordered = sorted(values)
    return [bisect_left(ordered, value) + bisect_right(ordered, value) + 1 for value in values]


def _ways(ranks: Sequence[int], chosen: int) -> list[int]:
    """In how many ways so many of the ranks can be chosen, by their sum from 0 on."""
    # A polynomial in one whole number, with room for each coefficient.
    room = len(ranks) + 1
    by_count = [1] + [0] * chosen
    for rank in ranks:
        for number in range(chosen, 0, -1):
            by_count[number] += by_count[number - 1] << (room * rank)
    mask = (1 << room) - 1
    return [by_count[chosen] >> (room * total) & mask for total in range(sum(ranks) + 1)]


def first_is_less(pairs: Sequence[tuple[float, float]], error: float = ERROR) -> Judgement | None:
    """Is the first of a pair the lesser one more often than the second?

    The sign test: if neither is, the first is the lesser one in as many pairs as coins show heads.
    Of two equal values neither is less; such a pair counts for neither.

    Args:
        pairs: two quantities that were measured side by side.
        error: the chance to see a difference where there is none.

    Returns:
        The answer with its reason; None if luck may have decided.
    """
    less = sum(one < other for one, other in pairs)
    n = sum(one != other for one, other in pairs)
    low, high = binomial_bounds(n, HALF, Fraction(error) / 2)
    if low <= less <= high:
        return None
    return Judgement(less > high, f"less in {less} of {n} pairs; luck gives {low} to {high}")


@lru_cache
def pairs_to_tell(often: Fraction, error: float = ERROR) -> int:
    """The fewest pairs with which `first_is_less` tells what is less that `often`.

    Args:
        often: the share of pairs in which the lesser one is the lesser, between 1/2 and 1.
        error: the chance that it is not told.
    """
    if not HALF < often < 1:
        raise ValueError(f"what is less in a share of {often} is not between 1/2 and 1")

    def tells(n: int) -> bool:
        _, high = binomial_bounds(n, HALF, Fraction(error) / 2)
        return high < n and at_most(high, n, often) < Fraction(error)

    return next(n for n in count(1) if tells(n))
