"""Verdicts: waiting for what should come true, statistics, and the claims they prove.

Everything is imported when it is asked for, so that the command line starts quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servicelab.verdict.claims import claim
    from servicelab.verdict.deadlines import Deadline, Deadlines
    from servicelab.verdict.message import Explanation, NotProved
    from servicelab.verdict.outcome import Verdict
    from servicelab.verdict.waiting import (
        SYSTEM_CLOCK,
        Clock,
        Missing,
        consistently,
        eventually,
        wait_out,
    )

__all__ = [
    "SYSTEM_CLOCK",
    "Clock",
    "Deadline",
    "Deadlines",
    "Explanation",
    "Missing",
    "NotProved",
    "Verdict",
    "claim",
    "consistently",
    "eventually",
    "wait_out",
]

_HOME = {
    "SYSTEM_CLOCK": "waiting",
    "Clock": "waiting",
    "Deadline": "deadlines",
    "Deadlines": "deadlines",
    "Explanation": "message",
    "Missing": "waiting",
    "NotProved": "message",
    "Verdict": "outcome",
    "claim": "claims",
    "consistently": "waiting",
    "eventually": "waiting",
    "wait_out": "waiting",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"servicelab.verdict.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
