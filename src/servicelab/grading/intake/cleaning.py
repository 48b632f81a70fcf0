"""What a submission left goes, and nothing in it can hold that up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError
from servicelab.grading.intake.fence import REQUEST_SECONDS
from servicelab.grading.intake.policy import Policy

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

_GONE = 404
#: Objects that others make from those of a submission.
_MADE = (("v1", "Pod"), ("apps/v1", "ReplicaSet"), ("v1", "Service"))


def remove(cluster: Cluster, namespace: str, policy: Policy) -> None:
    """Delete a namespace without waiting for it; what would keep it is taken away.

    Finalizers are refused, but a program of the cluster's could be made to write one: nobody would
    ever take it off again, and the namespace would stay for ever.

    Raises:
        InfrastructureError: the API server does not do it.
    """
    from kubernetes.client import ApiException, CoreV1Api
    from urllib3.exceptions import HTTPError

    core = CoreV1Api(cluster.client)
    try:
        # First of all no more objects can be made in it.
        core.delete_namespace(namespace, _request_timeout=REQUEST_SECONDS)
        # Others wait for the numbers and addresses of Services, and Pods would take their time.
        core.delete_collection_namespaced_service(namespace, _request_timeout=REQUEST_SECONDS)
        core.delete_collection_namespaced_pod(
            namespace, grace_period_seconds=0, _request_timeout=REQUEST_SECONDS
        )
        for version, kind in sorted({*policy.kinds, *_MADE}):
            _take_off_finalizers(cluster, namespace, version, kind)
    except ApiException as error:
        if error.status != _GONE:
            raise InfrastructureError(
                f"the namespace {namespace} could not be deleted: {error.status} {error.reason}"
            ) from None
    except HTTPError as error:
        raise InfrastructureError(
            f"the namespace {namespace} could not be deleted: {error}"
        ) from None


def _take_off_finalizers(cluster: Cluster, namespace: str, version: str, kind: str) -> None:
    from kubernetes.client import ApiException

    dynamic: Any = cluster.dynamic
    resource = dynamic.resources.get(api_version=version, kind=kind)
    listed = dynamic.get(resource, namespace=namespace, _request_timeout=REQUEST_SECONDS)
    for each in listed.items:
        if not each.metadata.finalizers:
            continue
        try:
            dynamic.patch(
                resource,
                body={"metadata": {"finalizers": None}},
                name=each.metadata.name,
                namespace=namespace,
                content_type="application/merge-patch+json",
                _request_timeout=REQUEST_SECONDS,
            )
        except ApiException as error:
            if error.status != _GONE:
                raise
