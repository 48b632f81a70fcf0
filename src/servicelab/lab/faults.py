"""Faults: how a refuter makes a claim untrue without its test knowing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servicelab.lab.lab import Lab
    from servicelab.lab.manifests import Document


def _as_they_are(documents: list[Document]) -> list[Document]:
    return documents


def _nothing(lab: Lab) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a lab while its claim is refuted; a `Refuter`'s fault.

    Attributes:
        documents: changes what is applied; gets and returns the objects of one call.
        after_apply: acts on the cluster after each call of `apply`.
        instead: what a verb of the lab does instead ("scale", "label", …); gets the lab and the
            verb's arguments.
    """

    documents: Callable[[list[Document]], list[Document]] = _as_they_are
    after_apply: Callable[[Lab], None] = _nothing
    instead: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def __call__(self) -> Fault:
        """A refuter calls its fault to get it."""
        return self


NO_FAULT = Fault()


def together(*faults: Fault) -> Fault:
    """Several faults at once, in this order.

    Args:
        faults: of these no two stand instead of the same verb.

    Raises:
        ValueError: two do.
    """
    instead: dict[str, Callable[..., Any]] = {}
    for fault in faults:
        if twice := instead.keys() & fault.instead.keys():
            raise ValueError(f"two faults stand instead of {', '.join(sorted(twice))}")
        instead.update(fault.instead)

    def documents(each: list[Document]) -> list[Document]:
        for fault in faults:
            each = fault.documents(each)
        return each

    def after_apply(lab: Lab) -> None:
        for fault in faults:
            fault.after_apply(lab)

    return Fault(documents, after_apply, instead)


def in_documents(kind: str, change: Callable[[Document], object]) -> Fault:
    """Change every object of a kind, in place, before it is applied."""

    def changed(documents: list[Document]) -> list[Document]:
        for document in documents:
            if document["kind"] == kind:
                change(document)
        return documents

    return Fault(documents=changed)


def in_services(**spec: object) -> Fault:
    """Set fields of every Service's spec."""
    return in_documents("Service", lambda service: service["spec"].update(spec))


def in_clients(**spec: object) -> Fault:
    """Set fields of every client Pod's spec."""

    def change(pod: Document) -> None:
        if pod["metadata"].get("labels", {}).get("servicelab/role") == "client":
            pod["spec"].update(spec)

    return in_documents("Pod", change)


def in_container(name: str, **fields: object) -> Fault:
    """Set fields of a container in every bare Pod that has one of that name."""

    def change(pod: Document) -> None:
        for container in pod["spec"]["containers"]:
            if container["name"] == name:
                container.update(fields)

    return in_documents("Pod", change)


def once(act: Callable[[Lab], None]) -> Fault:
    """Do something after the first call of `apply` in each namespace."""
    done: set[str] = set()

    def first_time(lab: Lab) -> None:
        if lab.namespace not in done:
            done.add(lab.namespace)
            act(lab)

    return Fault(after_apply=first_time)


def frozen(service: str, selector: str, count: int) -> Fault:
    """Nobody keeps a Service's endpoints any more, as soon as they list its first Pods.

    Args:
        service: its name.
        selector: of its Pods, as kubectl takes it.
        count: how many Pods it has at first.
    """

    def freeze(lab: Lab) -> None:
        lab.service(service).follows(lab.ready_pods(selector, count))
        # Endpoints of a Service without selector are left to whoever makes them by hand.
        lab.core.patch_namespaced_service(service, lab.namespace, {"spec": {"selector": None}})

    return once(freeze)


def on_nodes(lab: Lab, nodes: list[str], *words: str) -> None:
    """Add a route or a routing rule on nodes, until the lab ends.

    Args:
        lab: whose end it is.
        nodes: names of the nodes.
        words: "route" or "rule", then what `ip route prepend` or `ip rule add` is to be told.
    """
    kind, *what = words
    # In the table `local` too: before what stands there, such as ipvs mode's addresses.
    verb = {"route": "prepend", "rule": "add"}[kind]
    for node in nodes:
        lab.cluster.docker_exec(node, "ip", kind, verb, *what)
        lab.on_close(partial(lab.cluster.docker_exec, node, "ip", kind, "del", *what))


def patches(change: Callable[[Lab, str, dict[str, Any]], None]) -> Fault:
    """Patch a Service with something else than the test asks for.

    Args:
        change: gets the lab, the Service's name and the spec, which it changes in place.
    """

    def patch_service(lab: Lab, service: str, **spec: Any) -> None:
        change(lab, service, spec)
        lab.core.patch_namespaced_service(service, lab.namespace, {"spec": spec})

    return Fault(instead={"patch_service": patch_service})
