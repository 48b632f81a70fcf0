"""A trace: one connection, its way hop by hop, and what proves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from servicelab.explain.answers import Place
from servicelab.trace.conntrack import Connection
from servicelab.trace.hop import Check, Hop, Way
from servicelab.trace.packet import Endpoint

SCHEMA = 1
"""Of the JSON; raised when a field changes its meaning or goes."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a connection ended.

    Attributes:
        address: its address and port.
        pod: the Pod that has the address; "" if none is known.
        node: the Pod's node; "" if it is not known.
    """

    address: Endpoint
    pod: str = ""
    node: str = ""

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        return {"address": str(self.address), "pod": self.pod, "node": self.node}

    def __str__(self) -> str:
        where = f", on {self.node}" if self.node else ""
        return f"{self.pod or 'an endpoint without a Pod'} ({self.address}{where})"


@dataclass(frozen=True, slots=True)
class Trace:
    """What tracing a Service gave.

    Attributes:
        service: its namespace and name, with a slash between.
        type: the Service's type; "headless" for one without an address.
        mode: kube-proxy's mode where the packet was translated; "" where no rule is involved.
        place: where it was asked from.
        asked: the address and port that were asked, or the name.
        protocol: TCP or UDP.
        kind: whose address it is: cluster, node, loadbalancer; "name" for DNS.
        node: the node whose rules the packet met; "" where no rule is involved.
        why_node: why it is that one, in words.
        way: the hops, and what became of the packet.
        backend: where it ended; None if it was refused or lost.
        choices: every endpoint that the node's rules have for the address.
        connection: conntrack's entry; None if there is none.
        outcome: what the client met, in words.
        answered_by: the Pod that said it answered; "" if none did.
        reached: whether the client got an answer.
        seen_as: the client's address as the Pod said it saw it; "" if it did not say.
        checks: the proofs.
        sentence: the whole in a learner's words.
        seconds: how long it took.
    """

    service: str
    type: str
    mode: str
    place: Place
    asked: str
    protocol: str
    kind: str
    node: str
    why_node: str
    way: Way
    backend: Backend | None
    choices: tuple[Backend, ...]
    connection: Connection | None
    outcome: str
    answered_by: str
    reached: bool
    seen_as: str
    checks: tuple[Check, ...]
    sentence: str
    seconds: float = 0.0

    @property
    def hops(self) -> tuple[Hop, ...]:
        """The rules that did something with the packet."""
        return self.way.hops

    @property
    def contradictions(self) -> tuple[Check, ...]:
        """The proofs that do not agree with the way."""
        return tuple(check for check in self.checks if check.holds is False)

    @property
    def proved(self) -> bool:
        """Whether some proof agrees with the way, and none contradicts it."""
        return not self.contradictions and any(check.holds for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0 if the client was answered and the way is proved, else 1."""
        return 0 if self.reached and self.proved else 1

    def to_json(self) -> dict[str, Any]:
        """For JSON; `schema` says which form this is."""
        return {
            "schema": SCHEMA,
            "service": self.service,
            "type": self.type,
            "mode": self.mode,
            "from": {
                "kind": self.place.kind,
                "name": self.place.name,
                "node": self.place.node,
                "ip": self.place.ip,
            },
            "asked": self.asked,
            "protocol": self.protocol,
            "kind": self.kind,
            "node": self.node,
            "why_node": self.why_node,
            "hops": [hop.to_json() for hop in self.hops],
            "end": self.way.end,
            "masqueraded": self.way.masqueraded,
            "backend": self.backend.to_json() if self.backend else None,
            "choices": [choice.to_json() for choice in self.choices],
            "conntrack": self.connection.to_json() if self.connection else None,
            "outcome": self.outcome,
            "answered_by": self.answered_by,
            "seen_as": self.seen_as,
            "reached": self.reached,
            "checks": [check.to_json() for check in self.checks],
            "proved": self.proved,
            "sentence": self.sentence,
            "seconds": round(self.seconds, 2),
        }
