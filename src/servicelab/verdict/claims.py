"""The `claim` marker: which claim a test proves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from servicelab.errors import UsageError

#: A claim's id: the lab's letters, a dash, two digits.
CLAIM_ID = re.compile(r"[A-Z]{2,4}-\d{2}")


@dataclass(frozen=True, slots=True)
class ClaimMark:
    """What a test's `claim` marker says.

    Attributes:
        id: the claim.
        modes: proxy modes in which the test proves it; None for all of the claim's.
        points: what an exercise gives for it.
        hint: a question that helps a learner whose manifests fail here.
    """

    id: str
    modes: tuple[str, ...] | None = None
    points: float = 1
    hint: str = ""


def claim(
    id_: str,
    *,
    modes: Iterable[str] | None = None,
    points: float = 1,
    hint: str = "",
) -> pytest.MarkDecorator:
    """Mark a test as proving a claim of its lab's claims.toml: `@claim("CIP-03")`.

    Args:
        id_: the claim's id.
        modes: proxy modes in which this test proves it; by default those of the claim.
        points: what an exercise gives for it.
        hint: a question that helps a learner whose manifests fail here.

    Raises:
        ValueError: the id does not look like one.
    """
    if not CLAIM_ID.fullmatch(id_):
        raise ValueError(f"{id_!r} is not a claim's id: write it like CIP-03")
    if isinstance(modes, str):
        modes = (modes,)
    chosen = None if modes is None else tuple(modes)
    return pytest.mark.claim(id_, modes=chosen, points=points, hint=hint)


def claim_of(node: pytest.Item) -> ClaimMark | None:
    """The claim that a test proves, or None.

    Raises:
        UsageError: it carries two.
    """
    marks = list(node.iter_markers("claim"))
    if not marks:
        return None
    if len(marks) > 1:
        raise UsageError(
            f"{node.nodeid} proves {' and '.join(str(mark.args[0]) for mark in marks)}",
            remedy="write one test for each claim",
        )
    return read_mark(marks[0])


def read_mark(mark: pytest.Mark) -> ClaimMark:
    """A `claim` marker's values, also of one that was written as `pytest.mark.claim("CIP-03")`."""
    made = claim(*mark.args, **mark.kwargs).mark
    return ClaimMark(*made.args, **made.kwargs)
