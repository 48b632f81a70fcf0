"""Applying MetalLB's own kinds, whose webhook comes up later than its Pods."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from servicelab.errors import UsageError
from servicelab.lab.manifests import Document
from servicelab.metallb.manifest import NAMESPACE
from servicelab.verdict import deadlines, eventually

if TYPE_CHECKING:
    from kubernetes.client.exceptions import ApiException

    from servicelab.cluster import Cluster

FIELD_MANAGER = "servicelab"
GROUP = "metallb.io"
#: What the API server says while it can't call the webhook: it is not there, not reached, or its
#: certificate is not known yet.
LATE = "failed calling webhook"

# Never stored: it is only asked whether it would be accepted.
_QUESTION: Document = {
    "apiVersion": f"{GROUP}/v1beta1",
    "kind": "IPAddressPool",
    "metadata": {"name": "is-the-webhook-there", "namespace": NAMESPACE},
    "spec": {"addresses": ["192.0.2.1-192.0.2.1"], "autoAssign": False},
}


def wait_for_webhook(cluster: Cluster) -> None:
    """Wait until the webhook answers, by a dry run of a pool.

    Raises:
        NotProved: it does not, within `webhook_answers`.
    """
    apply(cluster, _QUESTION, dry_run=True)


def apply(cluster: Cluster, document: Document, *, dry_run: bool = False) -> None:
    """Apply one of MetalLB's objects, again as long as its webhook does not answer.

    Args:
        cluster: where MetalLB is installed.
        document: the object; its namespace is MetalLB's, whatever it says.
        dry_run: only ask whether it would be accepted.

    Raises:
        UsageError: MetalLB or the API server refuses it; says why.
        NotProved: the webhook does not answer, within `webhook_answers`.
    """
    name = document["metadata"]["name"]
    eventually(
        lambda: _late(cluster, document, dry_run=dry_run),
        lambda late: not late,
        deadline=deadlines.current().webhook_answers,
        expecting=f"MetalLB's webhook to take the {document['kind']} {name}",
        every=0.1,
        tell=lambda late: late or "it did",
    )


def delete(cluster: Cluster, kind: str, name: str) -> None:
    """Delete one of MetalLB's objects, if it is there."""
    from kubernetes.client.exceptions import ApiException

    api_version = "v1beta2" if kind == "BGPPeer" else "v1beta1"
    try:
        resource = cluster.dynamic.resources.get(api_version=f"{GROUP}/{api_version}", kind=kind)
        resource.delete(name=name, namespace=NAMESPACE)
    except ApiException as error:
        if error.status != 404:
            raise


def _late(cluster: Cluster, document: Document, *, dry_run: bool) -> str:
    """Apply it; "" if it was taken, else why the webhook could not be asked."""
    from kubernetes.client.exceptions import ApiException

    body = copy.deepcopy(document)
    body["metadata"]["namespace"] = NAMESPACE
    resource = cluster.dynamic.resources.get(api_version=body["apiVersion"], kind=body["kind"])
    options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
    try:
        resource.server_side_apply(
            body=body,
            name=body["metadata"]["name"],
            namespace=NAMESPACE,
            field_manager=FIELD_MANAGER,
            force_conflicts=True,
            **options,
        )
    except ApiException as error:
        said = message_of(error)
        if LATE in said:
            return said
        if error.status in (400, 403, 422):
            raise UsageError(
                f"the {body['kind']} {body['metadata']['name']} is refused: {said}",
                remedy="mend it, and apply it again",
            ) from None
        raise
    return ""


def message_of(error: ApiException) -> str:
    """What the API server says, without the rest of its answer."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, TypeError, KeyError):
        return str(error.reason)
