"""A submission, applied as somebody who may do nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError, UsageError
from servicelab.grading.intake.refusal import Finding, RefusedByServer
from servicelab.grading.intake.submission import Document, FieldPath, Submission

if TYPE_CHECKING:
    from kubernetes.client import ApiException

    from servicelab.cluster import Cluster

_FIELD_MANAGER = "submission"
#: Answers that say something about the object; others say something about the cluster.
_ABOUT_THE_OBJECT = (400, 403, 404, 409, 413, 415, 422)
_UNKNOWN_FIELD = re.compile(r'(unknown|duplicate) field "([^"]+)"')
_WRONG_TYPE = re.compile(
    r"cannot unmarshal (\w+) into Go struct field \w+\.([\w.]+) of type (?:\w+\.)?(\w+)"
)
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@contextmanager
def applied(cluster: Cluster, submission: Submission, namespace: str) -> Iterator[None]:
    """Apply a submission in a namespace, which goes when the block ends.

    The namespace enforces the `baseline` Pod Security standard, has a quota, and an account that
    may make objects of the policy's kinds there; the objects are made as that account, with fields
    that Kubernetes does not know refused. Nothing is waited for: Pods start meanwhile.

    Args:
        cluster: where.
        submission: what `take_in` gave.
        namespace: the name that it was taken in for: of one that stands, with objects of the
            exercise in it, or that no namespace has had.

    Raises:
        RefusedByServer: the API server does not take one of the objects.
        InfrastructureError: the cluster failed.
    """
    from servicelab.grading.intake.cleaning import remove

    if namespace != submission.namespace:
        raise ValueError(f"taken in for {submission.namespace!r}, not for {namespace!r}")
    try:
        _stand(cluster, submission, namespace)
        yield
    except BaseException:
        with suppress(InfrastructureError):  # what came first is what is told
            remove(cluster, namespace, submission.policy)
        raise
    remove(cluster, namespace, submission.policy)


def _stand(cluster: Cluster, submission: Submission, namespace: str) -> None:
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    from servicelab.grading.intake.fence import fence
    from servicelab.verdict import NotProved

    try:
        fence(cluster, namespace, submission.policy)
        for document in submission.documents:
            _make(cluster, document, namespace)
    except ApiException as error:
        raise InfrastructureError(
            f"the namespace {namespace} could not be made ready: {_told(error)}"
        ) from None
    except (HTTPError, NotProved) as error:
        raise InfrastructureError(f"the cluster failed: {error}") from error


def _make(cluster: Cluster, document: Document, namespace: str) -> None:
    from kubernetes.client import ApiException, CoreV1Api

    from servicelab.lab.node_ports import apply_when_free, fixes_a_number

    make = partial(_create, cluster, document, namespace)
    try:
        if fixes_a_number(document.manifest):
            apply_when_free(make, CoreV1Api(cluster.client))
        else:
            make()
    except UsageError as error:
        # Somebody else has the node port, which is no fault of who asks for it.
        raise InfrastructureError(f"{document}: {error}") from None
    except ApiException as error:
        if error.status not in _ABOUT_THE_OBJECT:
            told = _told(error)
            raise InfrastructureError(f"the API server failed at {document}: {told}") from None
        raise RefusedByServer(findings_of(error, document)) from None


def _create(cluster: Cluster, document: Document, namespace: str) -> None:
    from servicelab.grading.intake.fence import REQUEST_SECONDS, account_headers

    dynamic: Any = cluster.dynamic
    [manifest] = cluster.localised([document.manifest])
    resource = dynamic.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
    dynamic.request(
        "post",
        resource.path(namespace=namespace),
        body=manifest,
        query_params=[("fieldValidation", "Strict")],
        field_manager=_FIELD_MANAGER,
        header_params=account_headers(namespace),
        _request_timeout=REQUEST_SECONDS,
    )


def findings_of(error: ApiException, document: Document) -> list[Finding]:
    """What the API server says about an object, with the lines that it means."""
    status = _status(error)
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    findings = [
        _finding(document, str(cause.get("field") or ""), str(cause.get("message") or ""))
        for cause in causes or ()
        if isinstance(cause, dict)
    ]
    if findings:
        return findings
    told = _told(error)
    unknown = _UNKNOWN_FIELD.findall(told)
    if unknown:
        return [
            _finding(document, field, f"Kubernetes knows no such field ({how} field)")
            for how, field in unknown
        ]
    if wrong := _WRONG_TYPE.search(told):
        given, field, wanted = wrong.groups()
        return [_finding(document, field, f"a {given} stands here, Kubernetes wants {wanted}")]
    return [_finding(document, "", told)]


def _finding(document: Document, field: str, why: str) -> Finding:
    return Finding(why, document.file, document.line_of(*_path(field)), field)


def _path(field: str) -> FieldPath:
    """The API server's way of naming a field: `spec.ports[0].nodePort`."""
    return tuple(int(index) if index else key for key, index in _STEP.findall(field))


def _status(error: ApiException) -> dict[str, Any]:
    try:
        status = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _told(error: ApiException) -> str:
    return str(_status(error).get("message") or f"{error.status} {error.reason}")
