"""What the Pods of a Job may do: what grading asks of the API server, in namespaces of ours.

RBAC can't say "in namespaces that it makes itself", so the rights stand in a ClusterRole, without a
wildcard and without Secrets unless an exercise lets students make them. An admission policy says
the rest: whatever the account changes or enters must stand in a namespace with servicelab's label,
but for kube-proxy's own Pods, in which the rules of their nodes are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from servicelab.grading.intake.fence import ACCOUNT as SUBMISSION
from servicelab.grading.intake.fence import plural
from servicelab.grading.intake.policy import Policy
from servicelab.lab.node_ports import LAB_LABELS

ACCOUNT = "grader"
DENIED = "servicelab's grader changes only what stands in its own namespaces"
"""What the admission policy says."""
_ALL = [
    *("create", "get", "list", "watch", "patch", "update"),
    *("delete", "deletecollection"),
]
_RBAC = "rbac.authorization.k8s.io"
((_LABEL, _VALUE),) = LAB_LABELS.items()


def rules(kinds: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """The ClusterRole's rules.

    Args:
        kinds: (apiVersion, kind) of what the exercises let students make.
    """
    everywhere = sorted({*Policy.default().kinds, *kinds})
    return [
        *(
            # To let a submission's account make them, the grader must be allowed to itself.
            _rule(version.rpartition("/")[0], plural(kind), _ALL)
            for version, kind in everywhere
        ),
        _rule("", "pods/exec", ["get", "create"]),  # probes, client Pods, kube-proxy's rules
        _rule("", "namespaces", ["create", "get", "list", "watch", "patch", "delete"]),
        _rule("", "nodes", ["list"]),
        _rule("", "serviceaccounts", ["create", "get", "list", "watch", "patch"]),
        {**_rule("", "serviceaccounts", ["impersonate"]), "resourceNames": [SUBMISSION]},
        _rule("", "resourcequotas", ["create", "get", "list", "watch"]),
        _rule("", "limitranges", ["create"]),
        _rule(_RBAC, "roles", ["create"]),
        _rule(_RBAC, "rolebindings", ["create"]),
        _rule("authorization.k8s.io", "subjectaccessreviews", ["create"]),
    ]


def cluster_role(name: str, kinds: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The role of the Pods."""
    return {"metadata": {"name": name, "labels": dict(LAB_LABELS)}, "rules": rules(kinds)}


def cluster_role_binding(name: str, namespace: str) -> dict[str, Any]:
    """What gives the role to the account in the Job's namespace."""
    return {
        "metadata": {"name": name, "labels": dict(LAB_LABELS)},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }


def admission_policy(name: str, namespace: str) -> dict[str, Any]:
    """What keeps the account within namespaces of ours."""
    user = f"system:serviceaccount:{namespace}:{ACCOUNT}"
    return {
        "metadata": {"name": name, "labels": dict(LAB_LABELS)},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["*"],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE", "DELETE", "CONNECT"],
                        "resources": ["*/*"],
                        "scope": "*",
                    }
                ]
            },
            "matchConditions": [
                {"name": "the-grader", "expression": f"request.userInfo.username == '{user}'"}
            ],
            "validations": [
                {
                    "expression": _within_ours(),
                    "message": DENIED,
                }
            ],
        },
    }


def admission_policy_binding(name: str) -> dict[str, Any]:
    """What puts the policy in force."""
    return {
        "metadata": {"name": name, "labels": dict(LAB_LABELS)},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }


def _within_ours() -> str:
    def ours(what: str) -> str:
        return f"{what}.metadata.?labels[?'{_LABEL}'].orValue('') == '{_VALUE}'"

    a_namespace = (
        f"(request.operation == 'CREATE' ? {ours('object')} : {ours('oldObject')})"
        f" && (request.operation != 'UPDATE' || {ours('object')})"
    )
    kube_proxy = (
        "request.operation == 'CONNECT' && request.namespace == 'kube-system'"
        " && request.name.startsWith('kube-proxy-')"
    )
    return (
        # A question about rights changes nothing.
        "request.resource.group == 'authorization.k8s.io' ? true : "
        f"request.resource.resource == 'namespaces' ? {a_namespace} : "
        f"(namespaceObject != null && ({ours('namespaceObject')} || ({kube_proxy})))"
    )


def _rule(group: str, resource: str, verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": verbs}
