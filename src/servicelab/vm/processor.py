"""Which of the host's processors a guest is pinned to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable


def choose_processor(taken: Iterable[int], allowed: Iterable[int] | None = None) -> int:
    """The processor with the fewest guests; of several, the last: the first serves interrupts.

    Args:
        taken: the processors of the guests that run.
        allowed: those that this process may use, by default.
    """
    guests = Counter(taken)
    candidates = os.sched_getaffinity(0) if allowed is None else allowed
    return min(candidates, key=lambda number: (guests[number], -number))
