"""How many requests prove something about load balancing, and what a trace of answers shows.

All figures are exact: whole numbers and fractions, no approximation. `error` is always the chance
that luck alone gives the wrong verdict, 1e-9 by default; `k` is the number of backends. A trace is
the list of who answered, in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from math import comb, factorial

ERROR = 1e-9


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a trace shows; true or false, with the reason in words.

    Attributes:
        holds: the question's answer.
        why: what was counted, and what it was compared with.
    """

    holds: bool
    why: str

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        return self.why


@lru_cache
def requests_to_see_all(k: int, miss: float = ERROR) -> int:
    """Requests after which uniform random choice has left a backend out with less than `miss`.

    31, 54, 77, 101 and 219 for 2, 3, 4, 5 and 10 backends.
    """
    return _smallest(lambda n: chance_to_miss_one(k, n) < Fraction(miss), start=_backends(k, 1))


def chance_to_miss_one(k: int, n: int) -> Fraction:
    """The chance that n uniform random requests leave out at least one of k backends.

    By inclusion and exclusion over the sets of backends that are left out.
    """
    _backends(k, 1)
    left_out = sum((-1) ** (j + 1) * comb(k, j) * (k - j) ** n for j in range(1, k + 1))
    return Fraction(left_out, k**n)


def equal_answers_for_affinity(k: int, luck: float = ERROR) -> int:
    """Equal answers in a row that random choice gives with less than `luck`.

    31, 20 and 16 for 2, 3 and 4 backends. Also the number of clients, each sticking to a backend
    chosen at random, that together stick to more than one.
    """
    _backends(k, 2)
    return _smallest(lambda n: Fraction(1, k ** (n - 1)) < Fraction(luck), start=1)


def rotation(trace: Sequence[Hashable], k: int) -> Judgement:
    """Is the trace strict round robin: k backends in some order, then the same order again?"""
    _backends(k, 2)
    if len(trace) <= k:
        return Judgement(False, f"{len(trace)} answers can't show a rotation of {k} backends")
    if (different := len(set(trace[:k]))) < k:
        return Judgement(False, f"the first {k} answers came from {different} backends")
    for number in range(k, len(trace)):
        if trace[number] != trace[number - k]:
            return Judgement(
                False, f"answer {number + 1} came from {trace[number]}, not {trace[number - k]}"
            )
    return Judgement(True, f"{len(trace)} answers in strict rotation over {k} backends")


def rotation_luck(k: int, n: int) -> Fraction:
    """The chance that n >= k uniform random answers are a strict rotation: k! of the k**n traces.

    5.7e-10 for 21 answers of 3 backends.
    """
    if n < _backends(k, 2):
        raise ValueError(f"{n} answers are no rotation of {k} backends")
    return Fraction(factorial(k), k**n)


def requests_for_rotation(k: int, luck: float = ERROR) -> int:
    """Answers in strict rotation that random choice gives with less than `luck`."""
    return _smallest(lambda n: rotation_luck(k, n) < Fraction(luck), start=_backends(k, 2))


def share_bounds(k: int, n: int, error: float = ERROR) -> tuple[int, int]:
    """The fewest and the most of n answers that each of k equal backends may give.

    Exact binomial tails, the error split over k backends and two sides (Bonferroni): the chance
    that any backend of a fair Service is outside is less than `error`.
    """
    _backends(k, 2)
    return binomial_bounds(n, Fraction(1, k), Fraction(error) / (2 * k))


def shares_within_bounds(counts: Mapping[str, int], k: int, error: float = ERROR) -> Judgement:
    """Do the counts of answers come from k equal backends?

    A fair Service is judged unfair with a chance of less than `error`. From the
    `requests_for_shares(k)` answers that are needed, a backend with half its due is noticed as
    surely.

    Args:
        counts: answers by backend; backends that never answered may be left out.
        k: how many backends there are.
        error: the chance to be wrong.
    """
    n = sum(counts.values())
    if n < (needed := requests_for_shares(k, error=error)):
        return Judgement(False, f"{n} answers can't show the shares of {k} backends: {needed} do")
    low, high = share_bounds(k, n, error)
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    seen = f"{told} of {n} answers; each of {k} equal backends gives {low} to {high}"
    if len(counts) > k:
        return Judgement(False, f"{len(counts)} backends answered, not {k}: {told}")
    silent = [0] * (k - len(counts))
    return Judgement(all(low <= count <= high for count in [*counts.values(), *silent]), seen)


@lru_cache
def requests_for_shares(k: int, share: Fraction = Fraction(1, 2), error: float = ERROR) -> int:
    """Requests that tell equal shares from a backend with a fraction of its due.

    With exactly this many, `shares_within_bounds` fails a fair Service with a chance of less than
    `error`, and passes one in which some backend gets `share` of its due, or less, with a chance
    of less than `error` too.
    """
    if not 0 <= share < 1:
        raise ValueError(f"a share of {share} of its due is not below its due")
    poor = Fraction(share) / _backends(k, 2)

    def tells(n: int) -> bool:
        low, _ = share_bounds(k, n, error)
        return 1 - at_most(low - 1, n, poor) < Fraction(error)

    # Whole numbers make the chance a saw-tooth in n, so this finds one of the smallest.
    high = k
    while not tells(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high


def looks_random(trace: Sequence[Hashable], k: int, error: float = ERROR) -> Judgement:
    """Does each answer come from one of k backends at random, whatever came before?

    Counts how often an answer equals the one 1, 2 … k before it. For independent uniform answers
    each count is binomial with 1/k, exactly; rotation gives none, or all, and stickiness gives
    all. Random choice is called not random with a chance of less than `error`; from the
    `requests_to_look_random(k)` answers that are needed, rotation and stickiness always are.
    """
    _backends(k, 2)
    if (different := len(set(trace))) > k:
        return Judgement(False, f"{different} backends answered, not {k}")
    if len(trace) < (needed := requests_to_look_random(k, error)):
        return Judgement(False, f"{len(trace)} answers can't show random choice: {needed} do")
    return _judge_order(trace, k, error)


def _judge_order(trace: Sequence[Hashable], k: int, error: float) -> Judgement:
    tail = Fraction(error) / (2 * k)
    for lag in range(1, k + 1):
        pairs = len(trace) - lag
        equal = sum(trace[number] == trace[number - lag] for number in range(lag, len(trace)))
        low, high = binomial_bounds(max(pairs, 0), Fraction(1, k), tail)
        if not low <= equal <= high:
            return Judgement(
                False,
                f"{equal} of {pairs} answers equal the one {lag} before; "
                f"random choice gives {low} to {high}",
            )
    return Judgement(True, f"{len(trace)} answers show no order: {_told(trace)}")


@lru_cache
def requests_to_look_random(k: int, error: float = ERROR) -> int:
    """The fewest answers with which `looks_random` rejects strict rotation and stickiness."""
    _backends(k, 2)

    def rejects_both(n: int) -> bool:
        turns = [number % k for number in range(n)]
        return not _judge_order(turns, k, error) and not _judge_order([0] * n, k, error)

    return _smallest(rejects_both, start=k + 1)


def _backends(k: int, least: int) -> int:
    if k < least:
        raise ValueError(f"{k} backends: this needs at least {least}")
    return k


def _smallest(holds: Callable[[int], bool], *, start: int) -> int:
    n = start
    while not holds(n):
        n += 1
    return n


def at_most(most: int, n: int, p: Fraction) -> Fraction:
    """The chance that a binomial count of n with p is at most `most`."""
    if most < 0:
        return Fraction(0)
    if most >= n:
        return Fraction(1)
    return Fraction(sum(islice(_weights(n, p), most + 1)), p.denominator**n)


def _weights(n: int, p: Fraction) -> Iterator[int]:
    """How likely each count 0 … n of a binomial is, times the n-th power of p's denominator."""
    yes, no = p.numerator, p.denominator - p.numerator
    weight = no**n
    for count in range(n + 1):
        yield weight
        weight = weight * (n - count) * yes // ((count + 1) * no)


@lru_cache(maxsize=4096)
def binomial_bounds(n: int, p: Fraction, tail: Fraction) -> tuple[int, int]:
    """The counts that a binomial of n with p stays within, but for `tail` on each side."""
    weights = list(_weights(n, p))
    limit = tail * p.denominator**n

    def left_out(ordered: Sequence[int]) -> int:
        total = 0
        for position, weight in enumerate(ordered):
            total += weight
            if total >= limit:
                return position
        return len(ordered) - 1

    return left_out(weights), n - left_out(weights[::-1])


def _told(trace: Sequence[Hashable]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(Counter(map(str, trace)).items()))
