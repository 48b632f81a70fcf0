"""The Docker Engine that clusters run on: one that is there, else a private one of servicelab's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from servicelab.engine.engine import Engine, existing_engine, refusal
from servicelab.engine.layout import layout
from servicelab.engine.private import (
    NOT_ROOT,
    find_private,
    start_private,
    stop_if_unused,
    stop_private,
)
from servicelab.engine.state import StartedBy, read_state
from servicelab.errors import InfrastructureError
from servicelab.progress import Progress

__all__ = [
    "Engine",
    "EngineStatus",
    "ensure_engine",
    "find_engine",
    "start_private",
    "status",
    "stop_if_unused",
    "stop_private",
]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Which engine there is.

    Attributes:
        engine: the one that would be used; None if none answers.
        started_by: who started the private one; None if it does not run.
        version: the engine's version; "" if none answers.
        containers: how many containers it has, stopped ones too.
        refused: why an existing Docker client gets no answer; "" if it does, or there is none.
    """

    engine: Engine | None
    started_by: StartedBy | None
    version: str
    containers: int
    refused: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": self.engine.kind if self.engine else None,
            "host": self.engine.host if self.engine else None,
            "docker": str(self.engine.docker_binary) if self.engine else None,
            "version": self.version,
            "containers": self.containers,
            "started_by": self.started_by,
            "refused": self.refused,
        }

    def __str__(self) -> str:
        if self.engine is None:
            return f"none ({self.refused})" if self.refused else "none"
        host = self.engine.host or "its default socket"
        by = {"user": ", until it is stopped", "run": ", while it is used", None: ""}
        return (
            f"{self.engine.kind} Docker {self.version} at {host}, "
            f"{self.containers} containers{by[self.started_by]}"
        )


def find_engine() -> Engine | None:
    """The engine that answers now: an existing Docker first, then a private one that runs."""
    named = os.environ.get("DOCKER_HOST")
    if named == layout().host:
        return find_private()
    existing = existing_engine()
    if existing is not None and not refusal(existing):
        return existing
    # An engine that the user named is meant, and no other.
    return None if named else find_private()


def ensure_engine(progress: Progress) -> Engine:
    """The engine that answers, after the private one was started if there is none.

    Raises:
        InfrastructureError: none answers and none can be started.
    """
    found = find_engine()
    if found is not None and (found.kind == "existing" or os.geteuid() != 0):
        return found
    if found is not None:
        # So that no other run stops it under this one.
        return start_private(progress, started_by="run")
    existing = existing_engine()
    refused = refusal(existing) if existing else ""
    host = os.environ.get("DOCKER_HOST")
    if host and host != layout().host:
        raise InfrastructureError(
            f"no Docker Engine answers at DOCKER_HOST={host}: {refused or 'no docker client'}",
            remedy="start it, or unset DOCKER_HOST to let servicelab start a private one",
        )
    if os.geteuid() != 0:
        seen = f"Docker does not answer ({refused})" if existing else "there is no Docker"
        raise InfrastructureError(
            f"{seen}, and a private engine can be started by root only", remedy=NOT_ROOT
        )
    return start_private(progress, started_by="run")


def status() -> EngineStatus:
    """Which engine there is now; starts nothing."""
    existing = existing_engine()
    refused = refusal(existing) if existing else ""
    state = read_state(layout().state)
    engine = find_engine()
    private = engine is not None and engine.kind == "private"
    started_by = state.started_by if state is not None and private else None
    if engine is None:
        return EngineStatus(None, started_by, "", 0, refused)
    answer = engine.docker("info", "--format", "{{.ServerVersion}} {{.Containers}}").split()
    return EngineStatus(engine, started_by, answer[0], int(answer[1]), refused)
