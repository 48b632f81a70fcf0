"""What every object says of itself: name, namespace, labels, annotations."""

from __future__ import annotations

import re

from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.rules.place import Place

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253
_METADATA = ("name", "namespace", "labels", "annotations")
_REFUSED_METADATA = {
    "generateName": "the API server would choose the name, and make another object each time",
    "finalizers": "a finalizer keeps an object from being deleted",
    "ownerReferences": "an owner decides when an object is deleted",
    **dict.fromkeys(
        ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"),
        "only the API server writes this",
    ),
    **dict.fromkeys(
        ("deletionGracePeriodSeconds", "managedFields", "selfLink"),
        "only the API server writes this",
    ),
}
_TEMPLATE_METADATA = ("name", "labels", "annotations")
#: Annotations that only their reader cares for.
_HARMLESS = frozenset(
    {
        "app.kubernetes.io/*",
        "deployment.kubernetes.io/revision",
        "kubectl.kubernetes.io/last-applied-configuration",
        "kubectl.kubernetes.io/restartedAt",
        "kubernetes.io/change-cause",
        "kubernetes.io/description",
    }
)
#: Labels and annotations of the grader's own.
_OURS = "servicelab"


def check_metadata(place: Place, policy: Policy, namespace: str) -> None:
    """Hold an object's metadata against the policy."""
    place.only(_METADATA, _REFUSED_METADATA, "metadata")
    name = place.at("name")
    if not name.given:
        if not place.at("generateName").given:
            place.refuse("the object has no name", "write metadata.name")
    elif (text := name.text()) and not (len(text) <= _LONGEST_NAME and _NAME.fullmatch(text)):
        name.refuse("this is no name", "use lower-case letters, digits, - and .")
    where = place.at("namespace")
    if where.given and (text := where.text()) and text != namespace:
        where.refuse(
            "the object asks for a namespace that is not the exercise's", "leave namespace out"
        )
    _check_marks(place, policy)


def check_template_metadata(place: Place, policy: Policy) -> None:
    """Hold the metadata of a Pod template against the policy."""
    place.only(_TEMPLATE_METADATA, _REFUSED_METADATA, "a template's metadata")
    _check_marks(place, policy)


def _check_marks(place: Place, policy: Policy) -> None:
    for key in place.at("labels").texts("labels"):
        if _domain(key).endswith(_OURS):
            place.at("labels", key).refuse("the grader marks its own objects with it", "rename it")
    for key in place.at("annotations").texts("annotations"):
        domain = _domain(key)
        if domain and not {key, f"{domain}/*"} & (_HARMLESS | policy.annotations):
            place.at("annotations", key).refuse(
                f"annotations of {domain} steer programs that the exercise shares with others",
                "leave it out",
            )


def _domain(key: str) -> str:
    return key.rpartition("/")[0]
