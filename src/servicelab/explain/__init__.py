"""The first broken layer of a Service: from its selector to the address that a client asks."""

from servicelab.explain.explaining import explain, explain_lightly
from servicelab.explain.layer import Layer, State, Word
from servicelab.explain.reading import Access
from servicelab.explain.walk import NONE, Walk, walk

__all__ = [
    "NONE",
    "Access",
    "Layer",
    "State",
    "Walk",
    "Word",
    "explain",
    "explain_lightly",
    "walk",
]
