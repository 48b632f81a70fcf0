"""A lab's namespace: its name, and how it comes about."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from servicelab.errors import UsageError
from servicelab.host import process_identity
from servicelab.lab.node_ports import LAB_LABELS
from servicelab.verdict import deadlines
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

#: Says of a namespace who made it: a kept cluster outlives a run that is killed.
OWNER = "servicelab/owner"
_LONGEST = 63
"""Characters of a DNS label, which a namespace's name is."""


def namespace_name(title: str) -> str:
    """A name that no other namespace has, from a title such as "clusterip-CIP-03".

    Raises:
        UsageError: the title has no letter or digit.
    """
    ending = uuid.uuid4().hex[:6]
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    if not words:
        raise UsageError(f"{title!r} has no letter to name a namespace after")
    return f"{words[: _LONGEST - len(ending) - 1].strip('-')}-{ending}"


def create_namespace(
    core: CoreV1Api, name: str, *, labels: Mapping[str, str] | None = None
) -> None:
    """Make a namespace that takes Pods.

    Args:
        core: the API.
        name: one that no namespace has had.
        labels: further labels.

    Raises:
        NotProved: it has no default ServiceAccount within `namespace_sa`.
    """
    from kubernetes.client import V1Namespace, V1ObjectMeta

    metadata = V1ObjectMeta(
        name=name, labels={**LAB_LABELS, **(labels or {})}, annotations={OWNER: owner()}
    )
    core.create_namespace(V1Namespace(metadata=metadata))
    # A Pod is refused until its ServiceAccount is there, a moment after the namespace.
    watch_until(
        core.list_namespaced_service_account,
        lambda accounts: "default" in accounts,
        deadline=deadlines.current().namespace_sa,
        expecting=f"namespace {name} to have its default ServiceAccount",
        tell=lambda accounts: ", ".join(accounts) or "none",
        namespace=name,
    )


def owner() -> str:
    """This process, as the annotation names it."""
    return json.dumps({"host": os.uname().nodename, **process_identity().to_dict()})
