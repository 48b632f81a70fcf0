"""The places that a Service is asked from: the nodes' probes, a Pod of ours, a host outside."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from servicelab.errors import InfrastructureError, UsageError
from servicelab.explain.answers import Place
from servicelab.explain.network_policy import isolating
from servicelab.explain.objects import Json
from servicelab.explain.reading import Access
from servicelab.explain.snapshot import Snapshot
from servicelab.lab.pods import pods_in_words
from servicelab.vantage.nodes import SYSTEM_NAMESPACE
from servicelab.vantage.pods import PodVantage, client_pod_manifest
from servicelab.verdict import deadlines
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from servicelab.vantage import Vantage

From = Literal["pod", "node", "outside"]
FROM: tuple[From, ...] = ("pod", "node", "outside")
NO_PROBES = (
    "this cluster has no probe of servicelab's to ask from; `servicelab up` makes one that has"
)


@dataclass(frozen=True, slots=True)
class Asker:
    """A place, and the vantage point there."""

    place: Place
    vantage: Vantage


@dataclass(frozen=True, slots=True)
class Places:
    """Where to ask from.

    Attributes:
        service: where the Service is asked from.
        backends: where its backends are asked from directly.
        why_not: why there is no place at all.
        outside_why_not: why nothing is asked from outside, though it should be.
    """

    service: tuple[Asker, ...] = ()
    backends: tuple[Asker, ...] = ()
    why_not: str = ""
    outside_why_not: str = ""


def check_from(s: Snapshot, from_: From | None) -> None:
    """Refuse to ask from outside what has no address there.

    Raises:
        UsageError: the Service has neither a node port nor a load balancer's address.
    """
    if from_ == "outside" and not faces_outside(s):
        raise UsageError(
            f"{s} is of type {s.type} and has no address that a host outside could ask",
            remedy="ask with --from pod or --from node, or make it a NodePort",
        )


def faces_outside(s: Snapshot) -> bool:
    """Whether a host outside the cluster is meant to reach the Service."""
    return s.type in ("NodePort", "LoadBalancer")


@contextmanager
def open_places(
    access: Access, s: Snapshot, from_: From | None, *, light: bool, on: str | None = None
) -> Iterator[Places]:
    """The places to ask from; what was started for them is removed in the end.

    Args:
        access: the cluster.
        s: the Service.
        from_: the kind of place; None takes the nodes, and what else the Service gives cause for:
            a host outside where it faces there, a Pod where NetworkPolicies select its Pods.
        light: nothing is started: only the nodes' probes, which are there.
        on: the node that a Pod of ours runs on; None leaves that to the scheduler.

    Raises:
        InfrastructureError: a Pod or a host outside does not start.
    """
    if not s.probes:
        yield Places(why_not=NO_PROBES, outside_why_not=NO_PROBES if faces_outside(s) else "")
        return
    with ExitStack() as stack:
        nodes = _nodes(access)
        wanted = {from_} if from_ else _wanted(s)
        chosen: list[Asker] = list(nodes) if "node" in wanted else []
        if "pod" in wanted and not light:
            chosen.append(stack.enter_context(_pod(access, on)))
        outside_why_not = ""
        if "outside" in wanted:
            if light or not access.cluster.ours:
                outside_why_not = "no host outside was at hand to ask from"
            else:
                chosen.append(stack.enter_context(_outside(access)))
        inside = tuple(each for each in chosen if each.place.kind != "outside")
        yield Places(
            tuple(chosen),
            inside or nodes,
            why_not="" if chosen else outside_why_not or NO_PROBES,
            outside_why_not=outside_why_not,
        )


def _wanted(s: Snapshot) -> set[From]:
    wanted: set[From] = {"node"}
    if faces_outside(s):
        wanted.add("outside")
    if any(isolating(s, pod) for pod in s.selected):
        wanted.add("pod")
    return wanted


def _nodes(access: Access) -> tuple[Asker, ...]:
    """Every node, whether its probe runs or not: one that can't be asked is told of."""
    return tuple(
        Asker(Place(each.name, "node", each.name, each.ip), each)
        for each in access.cluster.node_vantages
    )


@contextmanager
def _pod(access: Access, on: str | None) -> Iterator[Asker]:
    """A client Pod in the namespace of the probes, for as long as it takes."""
    from kubernetes.client import CoreV1Api
    from kubernetes.client.exceptions import ApiException

    core: Any = CoreV1Api(access.client)
    name = f"explain-{uuid.uuid4().hex[:6]}"
    try:
        manifest = client_pod_manifest(name, SYSTEM_NAMESPACE, node=on)
        core.create_namespaced_pod(SYSTEM_NAMESPACE, manifest)
    except ApiException as error:
        raise InfrastructureError(
            f"no Pod to ask from can be made in the namespace {SYSTEM_NAMESPACE}: {error.reason}"
        ) from None
    try:
        try:
            found = watch_until(
                core.list_namespaced_pod,
                lambda pods: any(
                    pod.status.phase == "Running" and bool(pod.status.pod_ip)
                    for pod in pods.values()
                ),
                deadline=deadlines.current().pod_ready,
                expecting=f"Pod {SYSTEM_NAMESPACE}/{name}, which is asked from, to run",
                tell=pods_in_words,
                namespace=SYSTEM_NAMESPACE,
                field_selector=f"metadata.name={name}",
            )
        except AssertionError as error:
            raise InfrastructureError(str(error)) from error
        pod = found[name]
        vantage = PodVantage(access.client.configuration, SYSTEM_NAMESPACE, name)
        with vantage:
            yield Asker(Place(name, "pod", pod.spec.node_name, pod.status.pod_ip), vantage)
    finally:
        with suppress(ApiException):
            core.delete_namespaced_pod(name, SYSTEM_NAMESPACE, grace_period_seconds=0)


@contextmanager
def _outside(access: Access) -> Iterator[Asker]:
    vantage = access.cluster.outside()
    try:
        yield Asker(Place(vantage.name, "outside", "", vantage.ip), vantage)
    finally:
        vantage.remove()


def node_ip(node: Json) -> str:
    """A node's IPv4 address inside the cluster's network, else its IPv6 address."""
    found = [
        each["address"]
        for each in (node.get("status") or {}).get("addresses") or ()
        if each.get("type") == "InternalIP"
    ]
    return min(found, key=lambda address: ":" in address, default="")
