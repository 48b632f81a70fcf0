"""A hop: one rule that did something with the packet, and what proves it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from servicelab.trace.packet import Endpoint

#: What became of the packet in the end.
End = Literal["backend", "rejected", "dropped", "untranslated", "name"]


@dataclass(frozen=True, slots=True)
class Hop:
    """One rule on the packet's way.

    Attributes:
        hook: the place in the kernel's packet path, such as "prerouting".
        table: the table, or the part of the kernel, such as "nat" or "ip_vs".
        chain: the chain; "" where there is none.
        rule: the rule as the kernel's own tool prints it.
        matched: why the packet matched, in words.
        does: what the rule does with it, in words.
        verdict: the same as the kernel says it: "jump KUBE-SVC-…", "dnat 10.244.1.2:80", "return".
        before: packets that the rule had matched before the connection; None if it does not count.
        after: the same afterwards; None if it does not count, or was written anew meanwhile.
        told: whether the kernel, asked to trace the packet, named this rule; None if it was not
            asked.
        handle: the number that nftables knows the rule by; 0 if it is not known.
    """

    hook: str
    table: str
    chain: str
    rule: str
    matched: str
    does: str
    verdict: str
    before: int | None = None
    after: int | None = None
    told: bool | None = None
    handle: int = 0

    @property
    def moved(self) -> bool | None:
        """Whether the rule's counter moved; None if it has none, or was written anew."""
        if self.before is None or self.after is None or self.was_written_anew:
            return None
        return self.after > self.before

    @property
    def was_written_anew(self) -> bool:
        """Whether its counter is seen to have begun again."""
        return self.before is not None and self.after is not None and self.after < self.before

    @property
    def proof(self) -> str:
        """What shows that the packet came by, in words; "" if nothing does."""
        words = []
        if self.before is not None and self.after is not None:
            words.append(f"packets {self.before} → {self.after}")
        if self.told:
            words.append("told by the kernel")
        return ", ".join(words)

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "hook": self.hook,
            "table": self.table,
            "chain": self.chain,
            "rule": self.rule,
            "matched": self.matched,
            "does": self.does,
            "verdict": self.verdict,
            "packets_before": self.before,
            "packets_after": self.after,
            "told_by_kernel": self.told,
        }


@dataclass(frozen=True, slots=True)
class Way:
    """A packet's way through a node's rules.

    Attributes:
        hops: the rules that did something, in order.
        end: what became of the packet.
        backend: where it was sent; None if it was not translated.
        masqueraded: whether a rule of kube-proxy's gave it the node's address as its source.
    """

    hops: tuple[Hop, ...]
    end: End
    backend: Endpoint | None = None
    masqueraded: bool = False

    @property
    def was_written_anew(self) -> bool:
        """Whether a rule on the way was, while the connection was made: then any of them may be."""
        return any(hop.was_written_anew for hop in self.hops)

    def with_hops(self, hops: Iterable[Hop]) -> Way:
        """The same with other hops."""
        return replace(self, hops=tuple(hops))


@dataclass(frozen=True, slots=True)
class Check:
    """One proof of the way, and whether it agrees.

    Attributes:
        name: such as "counters".
        holds: False contradicts the way; None could not be asked, and `says` why.
        says: one sentence.
    """

    name: str
    holds: bool | None
    says: str

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "holds": self.holds, "says": self.says}
