"""Numbers, names and labels as a sentence has them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from textwrap import shorten

#: Longest message of somebody else that is quoted, in characters.
_QUOTED = 220


def counted(count: int, noun: str) -> str:
    """`1 Pod`, `3 Pods`, `2 NetworkPolicies`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("cy") else f"{count} {noun}s"


def listed(names: Iterable[str], most: int = 3) -> str:
    """`a`, `a and b`, `a, b, c and 4 more`; sorted, each once."""
    found = sorted(set(names))
    if len(found) > most:
        return f"{', '.join(found[:most])} and {len(found) - most} more"
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def pairs(labels: Mapping[str, str]) -> str:
    """Labels as kubectl takes and prints them."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def verb(things: Collection[object] | int, one: str, several: str) -> str:
    """The form of a verb that fits a number of things."""
    count = things if isinstance(things, int) else len(things)
    return one if count == 1 else several


def quoted(message: str) -> str:
    """What somebody else said, on one line and not too long."""
    return shorten(" ".join(message.split()), _QUOTED, placeholder=" …")
