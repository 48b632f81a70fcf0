"""The walk: every layer in its order, and the first that is broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from servicelab.explain.answers import Asked
from servicelab.explain.arp import arp_layer
from servicelab.explain.endpoint_slices import endpointslice_layer
from servicelab.explain.layer import Layer, State
from servicelab.explain.load_balancer import metallb_layer
from servicelab.explain.names import dns_layer
from servicelab.explain.policy import policy_layer
from servicelab.explain.readiness import readiness_layer
from servicelab.explain.rules import rules_layer
from servicelab.explain.selection import labels_layer, selector_layer
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.target_port import protocol_layer, target_port_layer
from servicelab.explain.wording import listed

NONE = "none"


@dataclass(frozen=True, slots=True)
class Walk:
    """What walking a Service's layers gave.

    Attributes:
        service: its namespace and name, with a slash between.
        type: the Service's type.
        layers: every layer, in order.
        asked_from: where it was asked from, in words.
        seconds: how long it took.
    """

    service: str
    type: str
    layers: tuple[Layer, ...]
    asked_from: str
    seconds: float = 0.0

    @property
    def broken(self) -> Layer | None:
        """The first broken layer."""
        return next((layer for layer in self.layers if layer.is_broken), None)

    @property
    def unasked(self) -> tuple[Layer, ...]:
        """The layers that matter and were not asked."""
        return tuple(layer for layer in self.layers if layer.state is State.NOT_ASKED)

    @property
    def first_broken(self) -> str | None:
        """The first broken layer in one word; "none" if all hold; None if that is not known."""
        if self.broken:
            return str(self.broken.word)
        return None if self.unasked else NONE

    @property
    def sentence(self) -> str:
        """What came of it, in a learner's words."""
        if self.broken:
            return self.broken.sentence
        if self.unasked:
            words = listed((str(layer.word) for layer in self.unasked), most=len(self.layers))
            first = self.unasked[0]
            return f"nothing broken was seen, but {words} not asked: {first.seen}"
        return f"every layer holds, asked from {self.asked_from}"

    @property
    def try_(self) -> str:
        """The next command to type; "" if nothing is broken."""
        return self.broken.try_ if self.broken else ""

    @property
    def exit_code(self) -> int:
        """0 if all hold, 1 for a broken layer, 3 if it could not be found out."""
        return {NONE: 0, None: 3}.get(self.first_broken, 1)

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "service": self.service,
            "type": self.type,
            "asked_from": self.asked_from,
            "first_broken": self.first_broken,
            "sentence": self.sentence,
            "next": self.try_,
            "layers": [layer.to_json() for layer in self.layers],
            "seconds": round(self.seconds, 2),
        }


def walk(s: Snapshot, asked: Asked, seconds: float = 0.0) -> Walk:
    """Judge every layer of a Service by what was seen and asked.

    Args:
        s: what the cluster shows.
        asked: what came back.
        seconds: how long both took.
    """
    layers = (
        selector_layer(s),
        labels_layer(s),
        readiness_layer(s),
        endpointslice_layer(s, asked),
        target_port_layer(s, asked),
        protocol_layer(s, asked),
        policy_layer(s, asked),
        rules_layer(s, asked),
        dns_layer(s, asked),
        metallb_layer(s),
        arp_layer(s, asked),
    )
    return Walk(f"{s.namespace}/{s.name}", s.type, layers, asked.from_where, seconds)
