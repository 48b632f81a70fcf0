"""targetPort and protocol: does something listen where the Service sends its traffic?"""

from __future__ import annotations

from servicelab.explain.answers import Asked, places_in_words
from servicelab.explain.backends import (
    BackendSeen,
    BackendState,
    backends_of,
    listens,
    names,
    pod_of,
)
from servicelab.explain.layer import Layer, Word, broken, holds, not_asked, not_needed
from servicelab.explain.objects import ServicePort, container_ports, name_of, target_number
from servicelab.explain.policy import held_back
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.wording import counted, listed, verb

_DEAD = (BackendState.REFUSED, BackendState.HANGS, BackendState.NO_ANSWER)


def target_port_layer(s: Snapshot, asked: Asked) -> Layer:
    """Does every backend answer at the port that the Service sends its traffic to?"""
    word = Word.TARGET_PORT
    if not s.ports:
        return not_needed(word, "the Service has no ports")
    if s.is_external_name:
        return not_needed(word, "a Service of type ExternalName sends no traffic itself")
    for port in s.ports:
        if found := _unnamed(s, port) or _dead(s, asked, port):
            return found
    backends = [each for port in s.ports for each in backends_of(s, asked, port)]
    if not backends:
        return not_asked(word, "there is no endpoint that could be asked")
    unasked = [each for each in backends if each.state is BackendState.NOT_ASKED]
    if unasked:
        return not_asked(word, asked.why_not or f"{listed(names(unasked))} could not be asked")
    return holds(word, _told(s, asked, backends))


def protocol_layer(s: Snapshot, asked: Asked) -> Layer:
    """Is it the Service's protocol, TCP or UDP, that the Pods speak there?"""
    word = Word.PROTOCOL
    if not s.ports or s.is_external_name:
        return not_needed(word, "the Service sends no traffic itself")
    for port in s.ports:
        if found := _other_protocol(s, asked, port):
            return found
    used = listed({port.protocol for port in s.ports})
    backends = [each for port in s.ports for each in backends_of(s, asked, port)]
    if any(port.protocol == "SCTP" for port in s.ports):
        return not_asked(word, "nothing here speaks SCTP")
    silent = [
        each.name
        for port in s.ports
        if port.protocol == "UDP"
        for each in backends_of(s, asked, port)
        if each.state is BackendState.SILENT and not listens(asked, each, port.protocol)
    ]
    if silent:
        return not_asked(
            word,
            f"{listed(silent)} took a datagram over UDP and said nothing to it: whether somebody "
            "listens there can't be told apart from nobody",
        )
    if not any(each.works for each in backends):
        return not_asked(word, asked.why_not or "there is no endpoint that answers")
    return holds(word, used)


def _told(s: Snapshot, asked: Asked, backends: list[BackendSeen]) -> str:
    targets = listed({str(each.endpoint.port) for each in backends})
    quiet = [each for each in backends if each.state is BackendState.SILENT]
    how = f"{counted(len(backends), 'backend')} answered directly at {targets}"
    if quiet:
        how = f"{counted(len(backends), 'backend')} took what was sent to {targets}"
    if s.is_headless and any(port.port != port.target for port in s.ports):
        how += "; headless: clients must ask there, the Service's own port number plays no part"
    return f"{how}, asked from {places_in_words(each.place for each in asked.backends)}"


def _unnamed(s: Snapshot, port: ServicePort) -> Layer | None:
    """A targetPort by a name that no container has."""
    if isinstance(port.target, int) or not s.members:
        return None
    if any(target_number(port, pod) is not None for pod in s.members):
        return None
    ports = [each for pod in s.members for each in container_ports(pod)]
    if any(each.name == port.target for each in ports):
        return None  # in another protocol: that layer's
    declared = f"they have {listed(map(str, ports))}" if ports else "they declare none"
    return broken(
        Word.TARGET_PORT,
        f"targetPort {port.target}",
        f"the Service's port {port} leads to the container port named {port.target}, and no "
        f"container of {listed(map(name_of, s.members))} has a port of that name: {declared}",
        f"kubectl -n {s.namespace} get pod {name_of(s.members[0])} "
        "-o jsonpath='{.spec.containers[*].ports}'",
    )


def _dead(s: Snapshot, asked: Asked, port: ServicePort) -> Layer | None:
    """Backends that were asked directly and did not answer, for no reason of another layer."""
    backends = backends_of(s, asked, port)
    dead = [
        each
        for each in backends
        if each.state in _DEAD
        and not listens(asked, each, _other(port.protocol))
        and not held_back(s, asked, port, each)
    ]
    if not dead:
        return None
    worst = next((each for each in dead if each.state is BackendState.REFUSED), dead[0])
    alike = [each for each in dead if each.state is worst.state]
    who = listed(names(alike))
    number, what = worst.endpoint.port, verb(alike, "does", "do")
    if worst.state is BackendState.REFUSED:
        wrong = f"{who} {verb(alike, 'refuses', 'refuse')} {number}/{port.protocol}: " + (
            _listens_elsewhere(s, asked, worst, port)
        )
    elif worst.state is BackendState.HANGS:
        wrong = (
            f"{who} {verb(alike, 'takes', 'take')} what is sent to {number}/{port.protocol} and "
            f"{verb(alike, 'never answers', 'never answer')}: the server there hangs, and is Ready "
            "all the same"
        )
    else:
        wrong = f"{who} {what} not answer at all at {number}/{port.protocol}"
    living = len(backends) - len(dead)
    rest = f"; the other {living} of {len(backends)} answer" if living else ""
    return broken(
        Word.TARGET_PORT,
        f"{len(dead)} of {counted(len(backends), 'backend')} dead at targetPort {port.target}",
        f"the Service sends traffic of its port {port} to {number}, and {wrong}{rest}",
        f"kubectl -n {s.namespace} logs {alike[0].endpoint.pod}"
        if worst.state is BackendState.HANGS and worst.endpoint.pod
        else f"kubectl -n {s.namespace} get service {s.name} -o jsonpath='{{.spec.ports}}'",
    )


def _listens_elsewhere(s: Snapshot, asked: Asked, backend: BackendSeen, port: ServicePort) -> str:
    """What a Pod that refuses does listen on, or at least declares."""
    sockets = asked.sockets.get(backend.endpoint.pod)
    if sockets is not None:
        here = [each for each in sockets if each.protocol == port.protocol]
        if any(each.port == backend.endpoint.port and each.only_inside for each in here):
            return "it listens on 127.0.0.1 only, where nobody but the Pod itself reaches it"
        others = {str(each.port) for each in here if not each.only_inside}
        if others:
            return f"nobody listens there; it listens on {listed(others)}"
        return f"nobody listens there, nor on any other {port.protocol} port"
    pod = pod_of(s, backend)
    declared = [
        str(each)
        for each in (container_ports(pod) if pod else ())
        if each.number != backend.endpoint.port
    ]
    if declared:
        return f"nobody listens there; its containers declare {listed(declared)}"
    return "nobody listens there, or only on 127.0.0.1"


def _other_protocol(s: Snapshot, asked: Asked, port: ServicePort) -> Layer | None:
    other = _other(port.protocol)
    namesakes = [
        each
        for pod in s.members
        for each in container_ports(pod)
        if each.name == port.target and each.protocol != port.protocol
    ]
    if namesakes and not any(target_number(port, pod) is not None for pod in s.members):
        other = namesakes[0].protocol
        why = f"the containers' port {port.target} is {namesakes[0].number}/{other}"
    else:
        wrong = [
            each
            for each in backends_of(s, asked, port)
            if not each.works and listens(asked, each, other)
        ]
        if not wrong:
            return None
        number = wrong[0].endpoint.port
        why = f"{listed(names(wrong))} {verb(wrong, 'listens', 'listen')} on {number}/{other}"
    return broken(
        Word.PROTOCOL,
        f"{port.protocol}, and {other} in the Pods",
        f"the Service's port {port} is {port.protocol}, and {why}: set the port's protocol to "
        f"{other}",
        f"kubectl -n {s.namespace} get service {s.name} -o jsonpath='{{.spec.ports}}'",
    )


def _other(protocol: str) -> str:
    return "TCP" if protocol == "UDP" else "UDP"
