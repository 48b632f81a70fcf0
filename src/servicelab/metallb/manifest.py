"""MetalLB's native manifest: what is changed in it before it is applied."""

from __future__ import annotations

from typing import Any

from servicelab.lab.manifests import Document, parse_manifest

NAMESPACE = "metallb-system"
CONTROLLER = "controller"
SPEAKER = "speaker"
MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "servicelab"

#: The manifest lets 10 s pass before it first asks whether a Pod is ready, and 10 s between two
#: questions. A cluster for tests asks at once, and every second.
_READINESS = {"initialDelaySeconds": 0, "periodSeconds": 1}


def prepared(text: str, where: str) -> list[Document]:
    """The manifest's objects, marked as ours, with readiness asked for at once.

    Args:
        text: the native manifest; its images may have been rewritten to a registry.
        where: what to call it in an error.

    Raises:
        UsageError: it is no YAML, or holds something that is no object.
    """
    documents = parse_manifest(text, where)
    for document in documents:
        if document["kind"] == "Namespace":
            document["metadata"].setdefault("labels", {})[MANAGED_BY] = OURS
        if document["kind"] in ("Deployment", "DaemonSet"):
            for container in _containers(document):
                container.get("readinessProbe", {}).update(_READINESS)
    return documents


def _containers(workload: Document) -> list[dict[str, Any]]:
    containers: list[dict[str, Any]] = workload["spec"]["template"]["spec"]["containers"]
    return containers
