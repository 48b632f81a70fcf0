"""Which engine there is or could be, and what earlier runs left behind."""

from __future__ import annotations

import os
from collections.abc import Sequence

from servicelab.apt_sources import machine_mirror
from servicelab.doctor.finding import Finding
from servicelab.engine import EngineStatus, status
from servicelab.engine.layout import layout
from servicelab.engine.packages import find_programs
from servicelab.engine.private import NOT_ROOT
from servicelab.engine.state import read_state
from servicelab.errors import InfrastructureError


def engine_finding(
    seen: EngineStatus, *, root: bool, programs: bool, no_mirror: str = ""
) -> Finding:
    """Whether there is an engine, or one could be started.

    Args:
        seen: what was found running.
        root: whether this user could start the private engine.
        programs: whether its programs are in the cache.
        no_mirror: why they can't be fetched; "" if they can.
    """
    if seen.engine is not None:
        return Finding("engine", "ok", str(seen))
    refused = f"Docker does not answer ({seen.refused})" if seen.refused else "no Docker"
    if not root:
        return Finding("engine", "error", f"{refused}, and not root", NOT_ROOT)
    if programs:
        return Finding("engine", "ok", f"{refused}; the private one is in the cache and starts")
    if no_mirror:
        return Finding(
            "engine",
            "error",
            f"{refused}, and the private one can't be fetched: {no_mirror}",
            "install Docker, or load a bundle: servicelab images load FILE",
        )
    return Finding("engine", "ok", f"{refused}; the private one will be fetched (15 s, once)")


def engine_findings() -> list[Finding]:
    """The engine of this machine."""
    no_mirror = ""
    try:
        machine_mirror()
    except InfrastructureError as error:
        no_mirror = error.problem
    found = find_programs() is not None
    return [engine_finding(status(), root=os.geteuid() == 0, programs=found, no_mirror=no_mirror)]


def leftover_finding(clusters: Sequence[str], *, dead_engine: bool) -> Finding:
    """What can be cleaned up.

    Args:
        clusters: names of clusters whose owner is gone and that nobody asked to keep.
        dead_engine: whether a private engine ended without being stopped.
    """
    seen = [f"cluster {name} of a dead owner" for name in clusters]
    remedies = ["servicelab reap"] if clusters else []
    if dead_engine:
        seen.append("routes, rules and files of a private engine that was killed")
        remedies.append("servicelab engine stop")
    if seen:
        return Finding("leftovers", "warn", "; ".join(seen), " && ".join(remedies))
    return Finding("leftovers", "ok", "none")


def leftover_findings() -> list[Finding]:
    """What earlier runs left on this machine."""
    # The cluster's package brings pytest-kind along, which takes a moment.
    from servicelab.cluster.lease import all_leases

    state = read_state(layout().state)
    abandoned = [lease.cluster for lease in all_leases() if lease.abandoned]
    return [leftover_finding(abandoned, dead_engine=state is not None and not state.is_alive)]
