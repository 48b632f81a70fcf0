"""What every object has: its kind, its name, its labels; and which rules are its kind's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.rules import endpoints, services, workloads
from servicelab.grading.intake.rules.metadata import check_metadata
from servicelab.grading.intake.rules.place import Place

Rule = Callable[[Place, Policy], None]

_CLUSTER = "it belongs to the whole cluster, of which an exercise has one namespace"
_RIGHTS = "it gives rights, which an exercise does not hand out"
_STEERS = "it decides over objects that are not the exercise's"
_REFUSED_KINDS = {
    **dict.fromkeys(
        (
            *("Namespace", "Node", "PersistentVolume", "StorageClass", "CustomResourceDefinition"),
            *("PriorityClass", "IngressClass", "RuntimeClass", "CSIDriver", "FlowSchema"),
            *("ServiceCIDR", "IPAddress", "CertificateSigningRequest", "ClusterTrustBundle"),
        ),
        _CLUSTER,
    ),
    **dict.fromkeys(
        ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"), _RIGHTS
    ),
    **dict.fromkeys(
        (
            *("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService"),
            *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
            *("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"),
            *("ResourceQuota", "LimitRange", "Lease", "Event"),
            *("IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "Community"),
        ),
        _STEERS,
    ),
}
_STATUS = {"status": "only the cluster writes what became of an object"}


def check(place: Place, policy: Policy, namespace: str) -> None:
    """Hold one object against the policy."""
    if not _kind_is_taken(place, policy):
        return
    kind = place.document.manifest["kind"]
    check_metadata(place.at("metadata"), policy, namespace)
    fields, rule = _RULES[kind]
    place.only(("apiVersion", "kind", "metadata", *fields), _STATUS, f"a {kind}")
    rule(place, policy)


def _kind_is_taken(place: Place, policy: Policy) -> bool:
    manifest = place.document.manifest
    version, kind = manifest["apiVersion"], manifest["kind"]
    if (version, kind) in policy.kinds:
        return True
    taken = sorted(f"{kind} ({version})" for version, kind in policy.kinds)
    if right := sorted(known for known, each in policy.kinds if each == kind):
        place.at("apiVersion").refuse(f"a {kind} is {right[0]}, not {version}")
    elif why := _REFUSED_KINDS.get(kind):
        place.at("kind").refuse(f"a {kind} is not taken: {why}", "leave it out")
    elif kind.endswith("List"):
        remedy = "write out what it holds, with --- between the objects"
        place.at("kind").refuse(f"a {kind} is not taken", remedy)
    else:
        place.at("kind").refuse(
            f"{version} {kind} is not a kind that this exercise takes", f"use {', '.join(taken)}"
        )
    return False


def _no_rule(place: Place, policy: Policy) -> None:
    """There is nothing in it that could do harm."""


def _config_map(place: Place, policy: Policy) -> None:
    place.at("data").texts("a ConfigMap's values")
    place.at("binaryData").texts("a ConfigMap's values")


def _secret(place: Place, policy: Policy) -> None:
    place.at("data").texts("a Secret's values")
    place.at("stringData").texts("a Secret's values")
    kind = place.at("type")
    if kind.text() not in ("", "Opaque", "kubernetes.io/tls", "kubernetes.io/basic-auth"):
        kind.refuse(
            "a Secret of this type is for the cluster's own programs", "use Opaque, or leave it out"
        )


_RULES: Mapping[str, tuple[tuple[str, ...], Rule]] = {
    "ConfigMap": (("data", "binaryData", "immutable"), _config_map),
    "Secret": (("data", "stringData", "immutable", "type"), _secret),
    "Service": (("spec",), services.check),
    "Endpoints": (("subsets",), endpoints.check_endpoints),
    "EndpointSlice": (("addressType", "endpoints", "ports"), endpoints.check_slice),
    "NetworkPolicy": (("spec",), _no_rule),
    **{kind: (("spec",), partial(workloads.check, kind)) for kind in workloads.KINDS},
}
KNOWN_KINDS = frozenset(_RULES)
"""The kinds that there are rules for; a policy can allow no other."""
