"""A question to one target: a value that travels to the probe as JSON.

A request names a target and what to do with it, never how to get there: the same value can be
asked from a Pod, a node or an outside container.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from servicelab.errors import UsageError

DEFAULT_TIMEOUT = 2.0
"""Seconds a request may take as a whole. The kernel repeats a lost SYN after 1 s, so one lost
packet does not make a time-out; a second loss in a row does."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one target.

    Attributes:
        timeout: seconds for the whole request: name lookup, connection and every answer.
    """

    kind: ClassVar[str] = ""
    BYTES: ClassVar[frozenset[str]] = frozenset()

    timeout: float = field(default=DEFAULT_TIMEOUT, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= 600:
            raise UsageError(f"a request's timeout of {self.timeout} s is not within 0 and 600 s")

    @property
    def idempotent(self) -> bool:
        """Whether asking twice does no more than asking once."""
        return True

    @property
    def target(self) -> str:
        """What is asked, in a few words for a table."""
        return self.kind

    def to_json(self) -> dict[str, Any]:
        """The request as the probe reads it; bytes travel as Latin-1 text, so any byte fits."""
        wire: dict[str, Any] = {"kind": self.kind}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bytes):
                value = value.decode("latin-1")
            elif isinstance(value, tuple):
                value = [list(item) if isinstance(item, tuple) else item for item in value]
            if value is not None:
                wire[each.name] = value
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote."""
        values: dict[str, Any] = {}
        for name, value in wire.items():
            if name == "kind":
                continue
            if name in cls.BYTES:
                value = value.encode("latin-1")
            elif isinstance(value, list):
                value = tuple(tuple(item) if isinstance(item, list) else item for item in value)
            values[name] = value
        return cls(**values)


def bracketed(address: str) -> str:
    """An address as it stands before `:PORT`."""
    return f"[{address}]" if ":" in address else address


def check_target(address: str, port: int) -> None:
    """Refuse an empty address or an impossible port with UsageError."""
    if not address:
        raise UsageError("a request needs an address")
    if not 1 <= port <= 65535:
        raise UsageError(f"{port} is not a port: they run from 1 to 65535")
