"""The `claim` marker: which claim a test proves."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

#: A claim's id: the lab's letters, a dash, two digits.
CLAIM_ID = re.compile(r"[A-Z]{2,4}-\d{2}")


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
    chosen = None if modes is None else tuple(modes)
    return pytest.mark.claim(id_, modes=chosen, points=points, hint=hint)
