"""BGPPeers on Kubernetes 1.36 and newer, which refuse what MetalLB 0.15 says about their numbers.

MetalLB up to 0.15 describes an autonomous system's number as an int32 of at most 4294967295. Since
1.36 the API server takes int32 at its word and refuses every BGPPeer, because that maximum is none;
MetalLB 0.16 says int64 (https://github.com/metallb/metallb/issues/3034).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from servicelab.errors import UsageError
from servicelab.lab.manifests import Document
from servicelab.metallb import webhook
from servicelab.verdict import deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

KIND = f"bgppeers.{webhook.GROUP}"
_INT32_MAX = 2**31 - 1

# Never stored: it is only asked whether it would be accepted.
_QUESTION: Document = {
    "apiVersion": f"{webhook.GROUP}/v1beta2",
    "kind": "BGPPeer",
    "metadata": {"name": "is-a-number-accepted"},
    "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"},
}


def mend_numbers(cluster: Cluster) -> tuple[str, ...]:
    """Let the API server accept BGPPeers, as MetalLB 0.16 does, and wait until it does.

    What is mended goes with MetalLB.

    Returns:
        The fields that had to be mended; () where MetalLB says it right.

    Raises:
        NotProved: a BGPPeer is still refused after `webhook_answers`.
    """
    resource = cluster.dynamic.resources.get(
        api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition"
    )
    versions = resource.get(name=KIND).to_dict()["spec"]["versions"]
    patch, fields = [], []
    for number, version in enumerate(versions):
        schema = version["schema"]["openAPIV3Schema"]
        for path, field in _too_narrow(schema, f"/spec/versions/{number}/schema/openAPIV3Schema"):
            patch.append({"op": "replace", "path": f"{path}/format", "value": "int64"})
            fields.append(field)
    if patch:
        resource.patch(name=KIND, body=patch, content_type="application/json-patch+json")
        # It accepted the patch before it goes by it.
        eventually(
            lambda: webhook.apply(cluster, _QUESTION, dry_run=True),
            lambda _: True,
            deadline=deadlines.current().webhook_answers,
            expecting="the API server to accept a BGPPeer",
            retry_on=(UsageError,),
        )
    return tuple(dict.fromkeys(fields))


def _too_narrow(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """The int32 numbers whose maximum is none, each as JSON pointer and name."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}/properties/{name}"
        if field.get("format") == "int32" and field.get("maximum", 0) > _INT32_MAX:
            yield here, name
        yield from _too_narrow(field, here)
