"""What a Job needs around it: a namespace, an account and its rights; made, and taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError
from servicelab.grading.intake.abandoned import sweep_abandoned
from servicelab.grading.intake.cleaning import remove as remove_namespace
from servicelab.grading.intake.fence import REQUEST_SECONDS
from servicelab.grading.intake.policy import Policy
from servicelab.grading.job import rights
from servicelab.grading.job.manifest import POD_SECURITY
from servicelab.lab.namespace import create_namespace, namespace_name
from servicelab.metallb.webhook import message_of
from servicelab.verdict import NotProved, deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

TITLE = "grade-job"
_GONE = 404
_NOT_OURS = "default"
"""A namespace that every cluster has, and that is never servicelab's."""
_BOUNDED = {"_request_timeout": REQUEST_SECONDS}


@dataclass(frozen=True, slots=True)
class Stand:
    """A place for one Job.

    Attributes:
        cluster: where it is.
        name: of its namespace, of its Job, and of what is the cluster's and belongs to it. The host
            names of its Pods begin with it.
    """

    cluster: Cluster
    name: str


@contextmanager
def stand(cluster: Cluster, kinds: Iterable[tuple[str, str]]) -> Iterator[Stand]:
    """Make a place for a Job; all of it goes when the block ends, with what its Pods have left.

    What is the cluster's is owned by the namespace: it goes with it, whoever deletes that.

    Args:
        cluster: where.
        kinds: (apiVersion, kind) of what the exercises let students make.

    Raises:
        InfrastructureError: the API server does not take it.
    """
    name = namespace_name(TITLE)
    here = Stand(cluster, name)
    with told_as_infrastructure(f"the Job's namespace {name} could not be made ready"):
        try:
            _make(here, kinds)
        except BaseException:
            with suppress(InfrastructureError):  # what came first is what is told
                remove(here)
            raise
    try:
        yield here
    except BaseException:
        try:
            remove(here)
        except InfrastructureError as error:  # what came first is what is raised
            cluster.progress.say(str(error))
        raise
    remove(here)


def sweep_killed(cluster: Cluster) -> list[str]:
    """Take away what runs of this machine have left that were killed; returns the namespaces.

    What is the cluster's and belonged to a Job goes with the Job's namespace.

    Raises:
        InfrastructureError: the API server does not do it.
    """
    with told_as_infrastructure(f"what killed runs have left on {cluster.name} is not known"):
        found = sweep_abandoned(cluster)
        jobs = [name for name in found if name.startswith(f"{TITLE}-")]
        return [*found, *(left for job in jobs for left in sweep_abandoned(cluster, job=job))]


@contextmanager
def told_as_infrastructure(what: str) -> Iterator[None]:
    """Tell what the API server or the way to it refuses as an InfrastructureError.

    Args:
        what: what could not be done.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        remedy = ""
        if error.status == 403:
            remedy = (
                "the kubeconfig's user must be allowed to: `kubectl auth can-i` says what it is"
            )
        raise InfrastructureError(f"{what}: {message_of(error)}", remedy=remedy) from None
    except (HTTPError, NotProved) as error:
        raise InfrastructureError(f"{what}: {' '.join(str(error).split())}") from None


def _make(here: Stand, kinds: Iterable[tuple[str, str]]) -> None:
    core, rbac, admission = _apis(here.cluster)
    name = here.name
    create_namespace(core, name, labels=POD_SECURITY)
    owner = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "name": name,
        "uid": core.read_namespace(name, **_BOUNDED).metadata.uid,
    }

    def owned(body: dict[str, Any]) -> dict[str, Any]:
        body["metadata"]["ownerReferences"] = [owner]
        return body

    # First what bounds the account, then the account, then its rights.
    admission.create_validating_admission_policy(
        owned(rights.admission_policy(name, name)), **_BOUNDED
    )
    admission.create_validating_admission_policy_binding(
        owned(rights.admission_policy_binding(name)), **_BOUNDED
    )
    core.create_namespaced_service_account(name, {"metadata": {"name": rights.ACCOUNT}}, **_BOUNDED)
    rbac.create_cluster_role(owned(rights.cluster_role(name, kinds)), **_BOUNDED)
    rbac.create_cluster_role_binding(owned(rights.cluster_role_binding(name, name)), **_BOUNDED)
    _wait_for_rights(here, allowed=True)
    _wait_for_policy(here)


def remove(here: Stand) -> None:
    """Take away what `stand` made and what the Job's Pods have left, and nothing else.

    Raises:
        InfrastructureError: the API server does not do it.
    """
    _, rbac, admission = _apis(here.cluster)
    name = here.name
    with told_as_infrastructure(f"the Job's namespace {name} could not be taken away"):
        # First the rights: a Pod that still runs can't make another namespace while we sweep.
        _unless_gone(lambda: rbac.delete_cluster_role_binding(name, **_BOUNDED))
        _wait_for_rights(here, allowed=False)
        # Not the namespace alone: a running Pod that loses its Job keeps the Job's finalizer.
        remove_namespace(here.cluster, name, Policy.default())
        sweep_abandoned(here.cluster, job=name)
        _unless_gone(lambda: rbac.delete_cluster_role(name, **_BOUNDED))
        _unless_gone(lambda: admission.delete_validating_admission_policy_binding(name, **_BOUNDED))
        _unless_gone(lambda: admission.delete_validating_admission_policy(name, **_BOUNDED))


def _wait_for_rights(here: Stand, *, allowed: bool) -> None:
    from kubernetes.client import AuthorizationV1Api

    access: Any = AuthorizationV1Api(here.cluster.client)
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": _user(here),
            "resourceAttributes": {"verb": "create", "resource": "namespaces"},
        },
    }
    eventually(
        lambda: bool(access.create_subject_access_review(review, **_BOUNDED).status.allowed),
        lambda seen: seen is allowed,
        deadline=deadlines.current().rights_follow,
        expecting=f"the account {here.name}/{rights.ACCOUNT} "
        f"{'' if allowed else 'no longer '}to be allowed to make namespaces",
        every=0.05,
    )


def attempt(here: Stand, namespace: str) -> str:
    """What the API server says to the account, if it asked to make an object; nothing is made.

    Args:
        here: whose account.
        namespace: where.

    Returns:
        The refusal; "" if it would be let.
    """
    from kubernetes.client import ApiException

    dynamic: Any = here.cluster.dynamic
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": here.name}}
    resource = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    try:
        dynamic.request(
            "post",
            resource.path(namespace=namespace),
            body=body,
            query_params=[("dryRun", "All")],
            header_params={"Impersonate-User": _user(here)},
            _request_timeout=REQUEST_SECONDS,
        )
    except ApiException as error:
        return message_of(error)
    return ""


def _wait_for_policy(here: Stand) -> None:
    # The API server reads new admission policies every second.
    eventually(
        lambda: attempt(here, _NOT_OURS),
        lambda said: rights.DENIED in said,
        deadline=deadlines.current().rights_follow,
        expecting=f"the admission policy {here.name} to be in force",
        tell=lambda said: said or "the account was let",
    )


def _user(here: Stand) -> str:
    return f"system:serviceaccount:{here.name}:{rights.ACCOUNT}"


def _apis(cluster: Cluster) -> tuple[Any, Any, Any]:
    from kubernetes.client import AdmissionregistrationV1Api, CoreV1Api, RbacAuthorizationV1Api

    client = cluster.client
    return CoreV1Api(client), RbacAuthorizationV1Api(client), AdmissionregistrationV1Api(client)


def _unless_gone(delete: Callable[[], object]) -> None:
    from kubernetes.client import ApiException

    try:
        delete()
    except ApiException as error:
        if error.status != _GONE:
            raise
