"""The verdicts on a claim."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a run found out about a claim."""

    HOLDS = "holds"
    """True as stated."""
    HOLDS_BUT = "holds, but …"
    """True under a condition that the claim leaves out."""
    CHANGED = "changed"
    """Was true, and is not on the Kubernetes version under test."""
    FALSE = "false"
    """Never true as stated."""
    NOT_PROVED = "not proved"
    """The test failed: neither proved nor refuted."""
    SKIPPED = "skipped"
    """Not tried, for a reason that is always given."""
