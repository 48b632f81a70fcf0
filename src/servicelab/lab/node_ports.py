"""Node ports that a manifest fixes: no namespace keeps two labs apart there.

The API server gives a number out once, so it is the allocator for every test, worker and lab. A
number that another lab holds comes free when that lab ends; one that somebody else holds does not.
A lab that several tests share should not fix a number: others would wait for it for long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servicelab.errors import UsageError
from servicelab.verdict import Missing, NotProved, deadlines, eventually
from servicelab.verdict.waiting import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

#: What the namespace of every lab carries.
LAB_LABELS: Mapping[str, str] = {"app.kubernetes.io/managed-by": "servicelab"}
#: The API server's words for it: "Invalid value: 30001: provided port is already allocated".
_TAKEN = re.compile(r"Invalid value: (\d+): provided port is already allocated")


@dataclass(frozen=True, slots=True)
class Holder:
    """The Service that has a node port.

    Attributes:
        port: the number.
        service: namespace/name; "" if it could not be found.
        of_a_lab: its namespace is a lab's, and goes with the lab.
    """

    port: int
    service: str
    of_a_lab: bool

    def __str__(self) -> str:
        return f"node port {self.port} is taken by Service {self.service or '(already gone)'}"


def fixes_a_number(document: Mapping[str, Any]) -> bool:
    """Is the object a Service that asks for a node port of its own choice?"""
    ports = (document.get("spec") or {}).get("ports") or ()
    return document.get("kind") == "Service" and any(port.get("nodePort") for port in ports)


def taken_port(body: str | bytes | None) -> int | None:
    """The node port that the API server says is taken, in the body of its refusal; else None."""
    try:
        causes = json.loads(body or "")["details"]["causes"]
        words = [str(cause["message"]) for cause in causes]
    except (ValueError, KeyError, TypeError):
        return None
    found = next((match for each in words if (match := _TAKEN.search(each))), None)
    return int(found[1]) if found else None


def apply_when_free(
    apply: Callable[[], object], core: CoreV1Api, *, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Apply a Service that fixes a node port, as soon as no other lab holds the number.

    Args:
        apply: does it, once.
        core: to find out who holds the number.
        clock: where time comes from.

    Raises:
        UsageError: a Service that is no lab's holds the number, or a lab does for too long.
        kubernetes.client.ApiException: the API server refuses it for another reason.
    """
    from kubernetes.client.exceptions import ApiException

    last: Holder | None = None

    def attempt() -> Holder | None:
        nonlocal last
        last = None
        try:
            apply()
        except ApiException as error:
            port = taken_port(error.body)
            if port is None:
                raise
            last = holder_of(core, port)
        return last

    def for_good(holder: Holder | None) -> str | None:
        return str(holder) if holder and holder.service and not holder.of_a_lab else None

    def free(holder: Holder | None) -> bool | Missing:
        return holder is None or Missing("not free yet")

    try:
        eventually(
            attempt,
            free,
            deadline=deadlines.current().node_port_free,
            expecting="the node port to be free",
            give_up=for_good,
            every=0.2,
            clock=clock,
        )
    except NotProved:
        raise UsageError(
            str(last),
            remedy="delete that Service, or write another number into the manifest",
        ) from None


def holder_of(core: CoreV1Api, port: int) -> Holder:
    """Find the Service that has a node port."""
    api: Any = core
    for service in api.list_service_for_all_namespaces().items:
        if any(each.node_port == port for each in service.spec.ports or ()):
            namespace = service.metadata.namespace
            labels = api.read_namespace(namespace).metadata.labels or {}
            of_a_lab = LAB_LABELS.items() <= labels.items()
            return Holder(port, f"{namespace}/{service.metadata.name}", of_a_lab)
    return Holder(port, "", of_a_lab=True)
