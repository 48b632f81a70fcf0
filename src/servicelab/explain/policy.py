"""Policies: NetworkPolicies that keep clients away, traffic policies that keep to a node."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from servicelab.explain.answers import Answers, Asked
from servicelab.explain.backends import BackendSeen, BackendState, backends_of, listens, pod_of
from servicelab.explain.layer import Layer, Word, broken, holds, not_asked, not_needed
from servicelab.explain.network_policy import blocking, isolating, names
from servicelab.explain.objects import Json, ServicePort
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.wording import counted, listed, verb

_WORD = Word.POLICY


def policy_layer(s: Snapshot, asked: Asked) -> Layer:
    """Does a policy keep those who ask from the Pods?"""
    if s.is_external_name:
        return not_needed(_WORD, "a Service of type ExternalName sends no traffic itself")
    return (
        _network(s, asked)
        or _internal(s, asked)
        or _external(s, asked)
        or _source_ranges(s, asked)
        or _kept(s, asked)
    )


def local_to(s: Snapshot, port: ServicePort, node: str) -> bool:
    """Whether a port has a ready endpoint on a node."""
    return any(each.node == node for each in s.ready_for(port))


def is_dropped(s: Snapshot, answers: Answers) -> bool:
    """Whether a question failed because a traffic policy is Local and its node has no Pod."""
    question = answers.question
    if question.goal == "backend" or not s.is_local(question.goal):
        return False
    node = question.node or answers.place.node
    port = port_named(s, question.port_name, question.protocol)
    return bool(node) and port is not None and not local_to(s, port, node)


def port_named(s: Snapshot, name: str, protocol: str) -> ServicePort | None:
    """A port of the Service, by its name and protocol."""
    found = (port for port in s.ports if (port.name, port.protocol) == (name, protocol))
    return next(found, None)


def _network(s: Snapshot, asked: Asked) -> Layer | None:
    for port in s.ports:
        for backend in backends_of(s, asked, port):
            if policies := held_back(s, asked, port, backend):
                what = "NetworkPolicy" if len(policies) == 1 else "NetworkPolicies"
                return broken(
                    _WORD,
                    f"{backend.name} {backend.state}",
                    f"{what} {listed(names(policies))} {verb(policies, 'selects', 'select')} "
                    f"{backend.name} and {verb(policies, 'does', 'do')} not let "
                    f"{asked.from_where} in at {backend.endpoint.port}/{port.protocol}",
                    f"kubectl -n {s.namespace} describe networkpolicy {names(policies)[0]}",
                )
    return None


def held_back(s: Snapshot, asked: Asked, port: ServicePort, backend: BackendSeen) -> list[Json]:
    """The policies that keep those who asked from a backend; none if something else does.

    What a policy denies is dropped, by some Pod networks refused: who takes a connection, or
    refuses one because nobody listens, was reached. Policies that let the same places reach another
    backend do not keep them from this one.
    """
    pod = pod_of(s, backend)
    dropped = backend.state in (BackendState.NO_ANSWER, BackendState.FROM_SOME)
    refused = backend.state is BackendState.REFUSED and listens(asked, backend, port.protocol)
    if pod is None or not (dropped or refused):
        return []
    policies = blocking(s, pod, backend.endpoint.port, port.protocol, asked)
    for other in backends_of(s, asked, port):
        reached = pod_of(s, other)
        if other.works and reached and isolating(s, reached) == policies:
            return []
    return policies


def _internal(s: Snapshot, asked: Asked) -> Layer | None:
    if not s.is_local("cluster") or s.is_headless:
        return None
    return _without_local_pod(
        s, [each for each in asked.service if each.question.goal == "cluster"], "internal"
    )


def _external(s: Snapshot, asked: Asked) -> Layer | None:
    if not s.is_local("node"):
        return None
    # A load balancer sends nothing to nodes without a Pod: only its own address must answer.
    goal = "loadbalancer" if s.type == "LoadBalancer" else "node"
    return _without_local_pod(
        s, [each for each in asked.service if each.question.goal == goal], "external"
    )


def _without_local_pod(s: Snapshot, answers: list[Answers], which: str) -> Layer | None:
    dropped = [each for each in answers if each.errors and is_dropped(s, each)]
    nodes = {each.question.node or each.place.node for each in dropped}
    if not dropped:
        return None
    have = {each.node for port in s.ports for each in s.ready_for(port)}
    there = f"they run on {listed(have)}" if have else "there is none anywhere"
    return broken(
        _WORD,
        f"{which}TrafficPolicy Local, no Pod on {listed(nodes)}",
        f"{which}TrafficPolicy is Local, so that a node sends the Service's traffic to its own "
        f"Pods only; {listed(nodes)} {verb(nodes, 'has', 'have')} none that is ready ({there}), "
        f"and {verb(nodes, 'drops', 'drop')} it",
        f"kubectl -n {s.namespace} get pods -o wide",
    )


def _source_ranges(s: Snapshot, asked: Asked) -> Layer | None:
    ranges = s.service["spec"].get("loadBalancerSourceRanges") or ()
    if s.type != "LoadBalancer" or not ranges:
        return None
    for each in asked.service:
        inside = not each.place.ip or any(
            ip_address(each.place.ip) in ip_network(range_.strip(), strict=False)
            for range_ in ranges
        )
        if each.question.goal == "loadbalancer" and each.errors and not inside:
            return broken(
                _WORD,
                f"loadBalancerSourceRanges {listed(ranges)}",
                f"the Service takes traffic at its load balancer's address from "
                f"{listed(ranges)} only, and {each.place.ip}, which asked, is not among them",
                f"kubectl -n {s.namespace} get service {s.name} "
                "-o jsonpath='{.spec.loadBalancerSourceRanges}'",
            )
    return None


def _kept(s: Snapshot, asked: Asked) -> Layer:
    """What policies there are, though none of them is in the way."""
    pods = s.members or s.selected
    found = {name: None for pod in pods for name in names(isolating(s, pod))}
    local = [
        f"{which}TrafficPolicy Local"
        for which, kind in (("internal", "cluster"), ("external", "node"))
        if s.is_local(kind)
    ]
    if "NetworkPolicies" in s.refused:
        return not_asked(_WORD, f"NetworkPolicies can't be read: {s.refused['NetworkPolicies']}")
    if not found:
        return holds(_WORD, ", ".join(["no NetworkPolicy selects the Pods", *local]))
    told = f"{counted(len(found), 'NetworkPolicy')} ({listed(found)}) " + (
        verb(found, "selects", "select") + " the Pods"
    )
    if not asked.places:
        return not_asked(_WORD, f"{told}; whether they let a client in was not asked")
    if not any(each.answered for each in asked.backends):
        return not_asked(_WORD, f"{told}; no Pod answered")
    words = f"{told}, and {asked.from_where} got through all the same"
    return holds(_WORD, ", ".join([words, *local]))
