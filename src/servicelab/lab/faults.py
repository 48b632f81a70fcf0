"""Faults: how a refuter makes a claim untrue without its test knowing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servicelab.lab.lab import Lab
    from servicelab.lab.manifests import Document


def _as_they_are(documents: list[Document]) -> list[Document]:
    return documents


def _nothing(lab: Lab) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a lab while its claim is refuted; a `Refuter`'s fault.

    Attributes:
        documents: changes what is applied; gets and returns the objects of one call.
        after_apply: acts on the cluster after each call of `apply`.
        instead: what a verb of the lab does instead ("scale", "label", …); gets the lab and the
            verb's arguments.
    """

    documents: Callable[[list[Document]], list[Document]] = _as_they_are
    after_apply: Callable[[Lab], None] = _nothing
    instead: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def __call__(self) -> Fault:
        """A refuter calls its fault to get it."""
        return self


NO_FAULT = Fault()
