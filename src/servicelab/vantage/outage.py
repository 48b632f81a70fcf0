"""How long a continuous client got no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servicelab.vantage.reply import Reply


@dataclass(frozen=True, slots=True)
class Outage:
    """A gap between two answers.

    Attributes:
        seconds: from the end of the last answer before it to the start of the request that was
            answered first after it; 0 if every request was answered.
        lost: requests in it without an answer.
    """

    seconds: float
    lost: int


def longest_outage(replies: Sequence[Reply]) -> Outage:
    """The longest gap in a stream's replies in which requests went without an answer.

    Args:
        replies: in order, from one vantage point, whose clock they share. Those before the first
            answer and after the last one count for nothing: nobody knows when that gap ended.
    """
    longest = Outage(0.0, 0)
    last: Reply | None = None
    lost = 0
    for reply in replies:
        if not reply.ok:
            lost += 1
            continue
        if last is not None and lost:
            seconds = reply.started - (last.started + last.seconds)
            longest = max(longest, Outage(seconds, lost), key=lambda each: each.seconds)
        last, lost = reply, 0
    return longest
