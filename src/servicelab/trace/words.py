"""Words that all proxy modes share."""

from __future__ import annotations

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")


def one_of(place: int, total: int) -> str:
    """`second of 3`."""
    return f"{ordinal(place)} of {total}"


def ordinal(place: int) -> str:
    """`first` for 1, `12th` for 12."""
    if 0 < place <= len(_ORDINALS):
        return _ORDINALS[place - 1]
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10 if place % 100 not in (11, 12, 13) else 0)
    return f"{place}{ending or 'th'}"
