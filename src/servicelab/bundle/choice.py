"""Where images come from: decided once per process, and said why."""

from __future__ import annotations

import os
from typing import get_args

from servicelab.bundle.builder import ensure_built
from servicelab.bundle.bundle import Bundle, Source
from servicelab.bundle.catalogue import catalogue
from servicelab.bundle.engine_images import ensure_imported, node_tag, probe_tag
from servicelab.bundle.official import Official, checked_version
from servicelab.engine import Engine
from servicelab.engine.registry import registry_in_reach
from servicelab.errors import UsageError
from servicelab.pins import pins
from servicelab.progress import Progress

SOURCES = ("auto", *get_args(Source))
KUBERNETES_VARIABLE = "SERVICELAB_KUBERNETES"


def checked_source(source: str) -> str:
    """The image source, if it is one.

    Raises:
        UsageError: it is none.
    """
    if source not in SOURCES:
        raise UsageError(
            f"there is no image source {source!r}", remedy=f"choose from {', '.join(SOURCES)}"
        )
    return source


def ensure_bundle(
    engine: Engine,
    *,
    source: str = "auto",
    progress: Progress,
    kubernetes: str | None = None,
) -> Bundle:
    """Everything a cluster is made of: found, else pulled or built.

    Args:
        engine: gets the images.
        source: "official", "bundle", or "auto" for the first of them that this machine can have.
        progress: where the steps are reported.
        kubernetes: another version than the pinned one, from official images only; by default
            $SERVICELAB_KUBERNETES, if set.

    Raises:
        UsageError: an unknown source, or a version that the source does not have.
        InfrastructureError: something can't be pulled or built.
    """
    checked_source(source)
    named = kubernetes or os.environ.get(KUBERNETES_VARIABLE)
    version = checked_version(named) if named else pins().kubernetes
    if version != pins().kubernetes:
        if source == "bundle":
            raise UsageError(
                f"the bundle builds Kubernetes {pins().kubernetes}, not {version}",
                remedy="use --images official for another version",
            )
        return Official(engine, version).ensure(f"only they have Kubernetes {version}", progress)
    steps = catalogue()
    chosen, reason = (source, "you asked for them") if source != "auto" else _choose(engine)
    if chosen == "official":
        return Official(engine, version).ensure(reason, progress)
    ensure_built(steps.final, progress)
    ensure_imported(engine, steps, progress)
    return Bundle(
        "bundle",
        node_tag(steps),
        steps.kind.folder / "kind",
        steps.kubectl.folder / "kubectl",
        probe_tag(steps),
        None,
        reason,
        version,
    )


def _choose(engine: Engine) -> tuple[Source, str]:
    # What was pulled once needs no network, and no question whether there is one.
    if Official(engine, pins().kubernetes).is_complete:
        return "official", "they were pulled before"
    reach = registry_in_reach(engine)
    if reach:
        return "official", str(reach)
    return "bundle", f"no registry answers: {reach}"
