"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """What a check saw, beside what it should have seen.

    Attributes:
        met: whether the criterion is met.
        expected: what the cluster should show, in words.
        actual: what it showed.
        why: why that is not enough; "" if it is met.
        waited_for: what was waited for in vain; "" if nothing was.
    """

    met: bool
    expected: str
    actual: str
    why: str = ""
    waited_for: str = ""
