"""Namespaces whose maker was killed, on a cluster that outlives it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from servicelab.grading.intake.cleaning import remove
from servicelab.grading.intake.fence import REQUEST_SECONDS
from servicelab.grading.intake.policy import Policy
from servicelab.host import ProcessIdentity
from servicelab.lab.namespace import OWNER, owner
from servicelab.lab.node_ports import LAB_LABELS

if TYPE_CHECKING:
    from servicelab.cluster import Cluster


def sweep_abandoned(cluster: Cluster, *, mine: bool = False, job: str = "") -> list[str]:
    """Delete the namespaces that processes of this machine have left; returns their names.

    What another process still uses stays, and so does what says of nobody that it is theirs.

    Args:
        cluster: where to look.
        mine: those of this process too, which is about to end.
        job: instead those that the Pods of this Indexed Job made, which are gone; its name.

    Raises:
        InfrastructureError: the API server does not do it.
    """
    from kubernetes.client import CoreV1Api

    core: Any = CoreV1Api(cluster.client)
    selector = ",".join(f"{key}={value}" for key, value in LAB_LABELS.items())
    listed = core.list_namespace(label_selector=selector, _request_timeout=REQUEST_SECONDS)
    left = [
        each.metadata.name
        for each in listed.items
        if _is_left((each.metadata.annotations or {}).get(OWNER, ""), mine, job)
        and each.metadata.deletion_timestamp is None
    ]
    for namespace in left:
        remove(cluster, namespace, Policy.default())
    return left


def _is_left(said: str, mine: bool, job: str) -> bool:
    if job:
        name, _, index = _host(said).rpartition("-")  # as Kubernetes names the hosts of its Pods
        return name == job and index.isdecimal()
    return (mine and said == owner()) or is_abandoned(said)


def _host(annotation: str) -> str:
    try:
        return str(json.loads(annotation)["host"])
    except (ValueError, TypeError, KeyError):
        return ""


def is_abandoned(annotation: str) -> bool:
    """Does an annotation name a process of this machine that is gone?"""
    try:
        said = json.loads(annotation)
        host = said.pop("host")
        identity = ProcessIdentity(**said)
    except (ValueError, TypeError, AttributeError, KeyError):
        return False
    return bool(host == os.uname().nodename and not identity.is_alive())
