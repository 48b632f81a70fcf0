"""A layer between a client and a Pod, and what was found there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Word(StrEnum):
    """The layers, in the order in which they are walked."""

    SELECTOR = "selector"
    LABELS = "labels"
    READINESS = "readiness"
    ENDPOINTSLICE = "endpointslice"
    TARGET_PORT = "targetPort"
    PROTOCOL = "protocol"
    POLICY = "policy"
    RULES = "rules"
    DNS = "dns"
    METALLB = "metallb"
    ARP = "arp"


class State(StrEnum):
    """What is known of a layer."""

    HOLDS = "holds"
    """Looked at, or asked, and as it should be."""
    BROKEN = "broken"
    """Looked at, or asked, and not as it should be."""
    NOT_ASKED = "not asked"
    """It matters, and could not be looked at or asked; the reason is always given."""
    NOT_NEEDED = "does not apply"
    """This kind of Service, or this way to it, has no such layer."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a Service.

    Attributes:
        word: which.
        state: what is known of it.
        seen: what was seen; for a layer that was not asked, why.
        sentence: what is wrong, in a learner's words; "" unless it is broken.
        try_: the next command to type; "" unless it is broken.
        lags: broken, but in a way that mends itself where the cluster is still catching up.
    """

    word: Word
    state: State
    seen: str
    sentence: str = ""
    try_: str = ""
    lags: bool = False

    @property
    def is_broken(self) -> bool:
        """Whether the way to the Pods ends here."""
        return self.state is State.BROKEN

    def to_json(self) -> dict[str, Any]:
        """For JSON; `sentence` and `next` only where it is broken."""
        found = {"layer": str(self.word), "state": str(self.state), "seen": self.seen}
        if self.is_broken:
            found |= {"sentence": self.sentence, "next": self.try_}
        return found


def holds(word: Word, seen: str) -> Layer:
    """A layer that is as it should be."""
    return Layer(word, State.HOLDS, seen)


def broken(word: Word, seen: str, sentence: str, try_: str, *, lags: bool = False) -> Layer:
    """A layer that is not; `lags` if it may be a moment later."""
    return Layer(word, State.BROKEN, seen, sentence, try_, lags)


def not_asked(word: Word, why: str) -> Layer:
    """A layer that matters, and was not asked."""
    return Layer(word, State.NOT_ASKED, why)


def not_needed(word: Word, why: str) -> Layer:
    """A layer that this Service does not have."""
    return Layer(word, State.NOT_NEEDED, why)
