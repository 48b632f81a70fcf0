"""What is known about a run as a whole; the fixtures fill it in as they find it out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import pytest


@dataclass(slots=True)
class RunFacts:
    """Facts that stand above the matrix and in the JSON.

    Attributes:
        kubernetes_version: of the cluster, such as "v1.37.0"; "" until it is known.
        cluster: the cluster's name.
        nodes: how many nodes it has.
        engine: which engine it runs in, in a few words.
        images: where the images come from, in a few words.
    """

    kubernetes_version: str = ""
    cluster: str = ""
    nodes: int = 0
    engine: str = ""
    images: str = ""

    def learn(self, **facts: Any) -> None:
        """Take over what another process found out; empty values change nothing."""
        names = {field.name for field in fields(self)}
        for name, value in facts.items():
            if name in names and value:
                setattr(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """The facts, for JSON."""
        return asdict(self)


_FACTS = pytest.StashKey[RunFacts]()


def run_facts(config: pytest.Config) -> RunFacts:
    """The facts of this session; the same object each time."""
    return config.stash.setdefault(_FACTS, RunFacts())
