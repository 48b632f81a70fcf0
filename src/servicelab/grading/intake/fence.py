"""A namespace for a stranger's objects: what they may use, and an account that may make them.

There is no NetworkPolicy in it: the Pod network of a cluster without a registry (podnet) enforces
none, so one would only look as if it kept Pods apart. What keeps them from harm is that they run
the exercise's images only, without rights on their node or in the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from servicelab.grading.intake.policy import Policy
from servicelab.lab.namespace import create_namespace
from servicelab.verdict import deadlines, eventually
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

ACCOUNT = "submission"
REQUEST_SECONDS = (5.0, 20.0)
"""To connect, and to be answered; the API server gives webhooks 10 s."""
POD_SECURITY = {
    f"pod-security.kubernetes.io/{mode}": "baseline" for mode in ("enforce", "warn")
} | {"pod-security.kubernetes.io/enforce-version": "latest"}
_BESIDE = 8
"""What the quota counts besides: the exercise's own objects in the namespace, Pods that end."""
_QUOTA = "submission"
_EXISTS = 409
_PLURALS = {
    "Endpoints": "endpoints",
    "NetworkPolicy": "networkpolicies",
}


def fence(cluster: Cluster, namespace: str, policy: Policy) -> None:
    """Make the namespace, or take the one that is there; wait until limits and rights are in force.

    Raises:
        NotProved: they are not, in time.
        kubernetes.client.ApiException: the API server refuses one of them.
    """
    from kubernetes.client import ApiException, CoreV1Api, RbacAuthorizationV1Api

    # The generated types know no plain data, which the client takes just as well.
    core: Any = CoreV1Api(cluster.client)
    rights: Any = RbacAuthorizationV1Api(cluster.client)
    bounded = {"_request_timeout": REQUEST_SECONDS}
    try:
        create_namespace(core, namespace, labels=POD_SECURITY)
    except ApiException as error:
        if error.status != _EXISTS:
            raise
        core.patch_namespace(namespace, {"metadata": {"labels": POD_SECURITY}}, **bounded)
    # A Pod that names no account gets the default one: it must have no key to the API server.
    core.patch_namespaced_service_account(
        "default", namespace, {"automountServiceAccountToken": False}, **bounded
    )
    for quota in quotas(policy):
        core.create_namespaced_resource_quota(namespace, quota, **bounded)
    core.create_namespaced_limit_range(namespace, LIMITS, **bounded)
    account = {"metadata": {"name": ACCOUNT}, "automountServiceAccountToken": False}
    core.create_namespaced_service_account(namespace, account, **bounded)
    rights.create_namespaced_role(namespace, role(policy), **bounded)
    rights.create_namespaced_role_binding(namespace, _binding(namespace), **bounded)
    _wait_for_quotas(core, namespace)
    _wait_for_rights(cluster, namespace, policy)


def account_headers(namespace: str) -> dict[str, str]:
    """What makes a request be the account's."""
    return {"Impersonate-User": f"system:serviceaccount:{namespace}:{ACCOUNT}"}


def role(policy: Policy) -> dict[str, Any]:
    """Making objects of the policy's kinds, and nothing else: not even reading them."""
    rules = [
        {
            "apiGroups": [version.rpartition("/")[0]],
            "resources": [plural(kind)],
            "verbs": ["create"],
        }
        for version, kind in sorted(policy.kinds)
    ]
    return {"metadata": {"name": ACCOUNT}, "rules": rules}


def quotas(policy: Policy) -> list[dict[str, Any]]:
    """What the namespace's objects may use in all."""
    hard = {
        "pods": 2 * policy.max_pods + _BESIDE,
        "services": policy.max_services + _BESIDE,
        "services.loadbalancers": policy.max_load_balancers + _BESIDE,
        "configmaps": policy.max_objects + _BESIDE,
        "secrets": policy.max_objects + _BESIDE,
        "persistentvolumeclaims": 0,
        "requests.cpu": "4",
        "requests.memory": "2Gi",
        "limits.memory": "4Gi",
        "limits.ephemeral-storage": "2Gi",
    }
    # A Pod that wants no others near it, in any namespace, would keep them from its node.
    others = {"hard": {"pods": "0"}, "scopes": ["CrossNamespacePodAffinity"]}
    return [
        {
            "metadata": {"name": _QUOTA},
            "spec": {"hard": {key: str(value) for key, value in hard.items()}},
        },
        {"metadata": {"name": f"{_QUOTA}-affinity"}, "spec": others},
    ]


#: What a container gets that asks for nothing, and the most that one can get.
LIMITS: dict[str, Any] = {
    "metadata": {"name": _QUOTA},
    "spec": {
        "limits": [
            {
                "type": "Container",
                "defaultRequest": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "1Mi"},
                "default": {"cpu": "500m", "memory": "128Mi", "ephemeral-storage": "64Mi"},
                "max": {"cpu": "1", "memory": "256Mi", "ephemeral-storage": "128Mi"},
            }
        ]
    },
}


def _binding(namespace: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }


def plural(kind: str) -> str:
    """What the API calls objects of a kind."""
    return _PLURALS.get(kind, f"{kind.lower()}s")


def _wait_for_quotas(core: Any, namespace: str) -> None:
    # Until its status is there, the API server refuses whatever a quota counts.
    def counted(found: Mapping[str, Any]) -> bool:
        return len(found) >= 2 and all(
            quota.status and (quota.status.hard or {}).keys() >= quota.spec.hard.keys()
            for quota in found.values()
        )

    watch_until(
        core.list_namespaced_resource_quota,
        counted,
        deadline=deadlines.current().rights_follow,
        expecting=f"the quotas of {namespace} to be in force",
        tell=lambda found: f"{len(found)} quotas",
        namespace=namespace,
    )


def _wait_for_rights(cluster: Cluster, namespace: str, policy: Policy) -> None:
    version, kind = sorted(policy.kinds)[-1]
    attributes = {
        "namespace": namespace,
        "verb": "create",
        "group": version.rpartition("/")[0],
        "resource": plural(kind),
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "resourceAttributes": attributes,
            "user": account_headers(namespace)["Impersonate-User"],
        },
    }
    from kubernetes.client import AuthorizationV1Api

    access: Any = AuthorizationV1Api(cluster.client)
    eventually(
        lambda: bool(
            access.create_subject_access_review(
                review, _request_timeout=REQUEST_SECONDS
            ).status.allowed
        ),
        lambda allowed: allowed,
        deadline=deadlines.current().rights_follow,
        expecting=f"the account {ACCOUNT} to be allowed to make objects in {namespace}",
        every=0.05,
    )
