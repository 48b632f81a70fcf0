"""Words about names: what the cluster DNS says, and who answers behind a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servicelab.grading.found import Found
from servicelab.grading.vocabulary.wording import listed, whose
from servicelab.grading.vocabulary.workloads import replace_one
from servicelab.lab.service import DOMAIN

if TYPE_CHECKING:
    from servicelab.grading.scene import Scene, Sight
    from servicelab.vantage import DnsReply, HttpReply


def name_answers(scene: Scene, *, name: str, port: int, of: str) -> Found:
    """A client that knows only a Service's name and a port is answered by a workload's Pods.

    Args:
        scene: where to look.
        name: the Service's name; with "PARAMETER:" before it in another namespace.
        port: the port that the client uses.
        of: the workload, "deployment/web".
    """
    url = f"http://{full_name(scene, name)}:{port}/"
    expected = f"http://{short(name)}:{port} is answered by {whose(of)}"
    names = {pod.name for pod in scene.pods(of)}
    sight = scene.until(
        lambda: scene.client.get(url, path="/hostname", timeout=1.5),
        lambda reply: reply.pod in names,
        expecting=f"{url} to be answered by {whose(of)}",
        tell=_said,
    )
    if sight.satisfied:
        return Found(True, expected, f"{sight.seen.pod} answered")
    return Found(False, expected, _said(sight.seen), _why(sight.seen, of), sight.waited_for)


def name_lists(scene: Scene, *, name: str, of: str) -> Found:
    """The cluster DNS answers a Service's name with the addresses of a workload's Pods themselves.

    Args:
        scene: where to look.
        name: the Service's name.
        of: the workload, "statefulset/db".
    """
    full = full_name(scene, name)
    expected = f"DNS answers {short(name)} with the addresses of {whose(of)}, each and no other"
    ips = {pod.ip: pod.name for pod in scene.pods(of)}
    sight = _lookup(scene, full, set(ips))
    actual = f"DNS says {sight.seen.outcome}"
    if sight.satisfied:
        return Found(True, expected, actual)
    if not sight.seen.addresses:
        why = "the name has no address"
    elif not set(sight.seen.addresses) & set(ips):
        why = "the address is no Pod's"
    else:
        why = "these are not exactly the Pods' addresses"
    return Found(False, expected, actual, why, sight.waited_for)


def pod_names(scene: Scene, *, service: str, of: str, port: int) -> Found:
    """Each Pod of a StatefulSet has a name of its own in a Service, and answers to it.

    Args:
        scene: where to look.
        service: the headless Service.
        of: the StatefulSet, "statefulset/db".
        port: the port that its Pods listen on.
    """
    full = full_name(scene, service)
    pods = scene.pods(of)
    expected = f"POD.{short(service)} leads to that Pod, for each of {whose(of)}"
    if not pods:
        return Found(False, expected, "there is no Pod", f"{whose(of)} are not there")
    told = []
    for pod in pods:
        sight = _lookup(scene, f"{pod.name}.{full}", {pod.ip})
        if not sight.satisfied:
            why = f"the name {pod.name}.{short(service)} does not lead to that Pod"
            actual = f"DNS says {sight.seen.outcome} for {pod.name}.{short(service)}"
            return Found(False, expected, actual, why, sight.waited_for)
        reply = scene.client.get(f"http://{pod.name}.{full}:{port}/hostname", timeout=1.5)
        told.append(f"{pod.name}: {reply.pod or reply.outcome}")
        if reply.pod != pod.name:
            why = f"{pod.name}.{short(service)}:{port} was answered by {reply.pod or reply.outcome}"
            return Found(False, expected, "; ".join(told), why)
    return Found(True, expected, "; ".join(told))


def name_outlives_pod(scene: Scene, *, name: str, port: int, of: str) -> Found:
    """The only Pod behind a name is replaced, and the name leads to its successor.

    Args:
        scene: where to look.
        name: the Service's name.
        port: the port that the client uses.
        of: the workload with the one Pod.
    """
    url = f"http://{full_name(scene, name)}:{port}/"
    expected = f"after the Pod is replaced, http://{short(name)}:{port} is answered by the new one"
    before = scene.pods(of)
    if len(before) != 1:
        return Found(False, expected, f"Pods: {len(before)}", f"{whose(of)} are not one")
    replaced = replace_one(scene, of, before)
    if not replaced.satisfied:
        why = "the Pod has no Ready successor"
        return Found(False, expected, f"Pods: {len(replaced.seen)}", why, replaced.waited_for)

    def look() -> tuple[set[str], HttpReply]:
        now = {pod.name for pod in scene.pods(of)}
        return now, scene.client.get(url, path="/hostname", timeout=1.5)

    sight = scene.until(
        look,
        lambda seen: seen[1].pod in seen[0] and seen[1].pod != before[0].name,
        expecting=f"{url} to be answered by the Pod that replaced {before[0].name}",
        tell=lambda seen: _said(seen[1]),
    )
    reply = sight.seen[1]
    if sight.satisfied:
        return Found(True, expected, f"{reply.pod} answered")
    return Found(False, expected, _said(reply), "the name was lost with the Pod", sight.waited_for)


def full_name(scene: Scene, reference: str) -> str:
    """A Service's full name in the cluster DNS."""
    lab, name = scene.where(reference)
    return f"{name}.{lab.namespace}.svc.{DOMAIN}"


def short(reference: str) -> str:
    """How the exercise calls a Service: without the namespace."""
    return reference.rpartition(":")[2]


def _lookup(scene: Scene, name: str, wanted: set[str]) -> Sight[DnsReply]:
    def ask() -> DnsReply:
        return scene.client.dns(name, server=scene.name_server)

    return scene.until(
        ask,
        lambda reply: bool(wanted) and set(reply.addresses) == wanted,
        expecting=f"{name} to be {listed(wanted)}",
        tell=lambda reply: reply.outcome,
        every=0.3,
    )


def _said(reply: HttpReply) -> str:
    return f"{reply.pod} answered" if reply.pod else reply.outcome


def _why(reply: HttpReply, of: str) -> str:
    if reply.pod:
        return f"{reply.pod} is none of {whose(of)}"
    if reply.error == "name":
        return "the name does not lead to an address"
    if reply.error == "refused":
        return "the name has an address, but nobody listens on that port there"
    return "there was no answer that names a Pod"
