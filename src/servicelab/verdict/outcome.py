"""The verdicts on a claim, and which one counts where several tests prove one claim."""

from __future__ import annotations

from collections.abc import Iterable
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

    @property
    def is_measured(self) -> bool:
        """The cluster answered the question, in whatever way."""
        return self not in (Verdict.NOT_PROVED, Verdict.SKIPPED)


# The first that occurs among a claim's tests is the claim's. A failing test leaves everything open.
# One test is enough to refute; to hold, all must have run.
_PRECEDENCE = (
    Verdict.NOT_PROVED,
    Verdict.FALSE,
    Verdict.CHANGED,
    Verdict.SKIPPED,
    Verdict.HOLDS_BUT,
    Verdict.HOLDS,
)


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a claim that several tests prove.

    `not proved` before `false` before `changed` before `skipped` before `holds, but …` before
    `holds`.

    Raises:
        ValueError: there is none to combine.
    """
    return min(verdicts, key=_PRECEDENCE.index)
