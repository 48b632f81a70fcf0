"""How long a continuous client got no answer."""

from __future__ import annotations

import pytest

from servicelab.vantage import ErrorClass, HttpReply, HttpRequest
from servicelab.vantage.outage import Outage, longest_outage

REQUEST = HttpRequest("10.0.0.1", 80)


def replies(*times: float) -> list[HttpReply]:
    """One reply for each start time in seconds, after 0.25 s; those below 0 are without answer."""
    return [
        HttpReply(
            request=REQUEST,
            started=abs(time),
            seconds=0.25,
            error=ErrorClass.TIMEOUT if time < 0 else None,
        )
        for time in times
    ]


@pytest.mark.parametrize(
    ("times", "seconds", "lost"),
    [
        ((), 0, 0),
        ((1, 2, 3), 0, 0),
        ((1, -2, -3, 4), 2.75, 2),
        ((1, -2, 3, 4, -5, -6, -7, 9, -10, 11), 4.75, 3),
        ((-1, -2, 3, 4), 0, 0),
        ((1, 2, -3, -4), 0, 0),
    ],
)
def test_the_longest_gap_between_two_answers(
    times: tuple[float, ...], seconds: float, lost: int
) -> None:
    """From the end of an answer to the start of the next; what has no end or beginning is none."""
    assert longest_outage(replies(*times)) == Outage(seconds, lost)
