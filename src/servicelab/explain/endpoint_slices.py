"""EndpointSlices: do they list the Pods that are to get traffic, and nobody else?"""

from __future__ import annotations

from servicelab.explain.answers import Asked
from servicelab.explain.backends import BackendState, backends_of
from servicelab.explain.layer import Layer, Word, broken, holds, not_needed
from servicelab.explain.objects import (
    Json,
    ServicePort,
    addresses_of,
    labels_of,
    name_of,
    target_number,
)
from servicelab.explain.selection import lookalikes
from servicelab.explain.snapshot import CONTROLLER, MANAGED_BY, Snapshot
from servicelab.explain.wording import counted, listed, verb
from servicelab.observe.endpoints import SERVICE_LABEL, endpoints_of

_WORD = Word.ENDPOINTSLICE


def endpointslice_layer(s: Snapshot, asked: Asked) -> Layer:
    """Do the slices say what the Pods say, or what whoever made them by hand must mean?"""
    if s.is_external_name:
        return not_needed(_WORD, "a Service of type ExternalName has no endpoints")
    found = _missing(s) or _strangers(s) if s.selector else _by_hand(s, asked)
    return found or holds(_WORD, _told(s))


def _told(s: Snapshot) -> str:
    ready = sorted({each.address for each in s.endpoints if each.ready})
    waiting = len({each.ip for each in s.endpoints if not each.ready})
    words = f"{len(ready)} ready: {listed(ready)}" if ready else "none ready"
    return f"{words}; {waiting} not ready" if waiting else words


def _look(s: Snapshot) -> str:
    return f"kubectl -n {s.namespace} get endpointslices -l {SERVICE_LABEL}={s.name} -o yaml"


def _missing(s: Snapshot) -> Layer | None:
    """Pods that are to get traffic, and that no slice lists."""
    listed_now = {each.ip for each in s.endpoints}
    absent = [pod for pod in s.members if not set(addresses_of(pod)) & listed_now]
    families = " and ".join(s.service["spec"].get("ipFamilies") or ("IPv4",))
    foreign = [
        pod for pod in absent if addresses_of(pod) and not any(map(s.takes, addresses_of(pod)))
    ]
    if foreign:
        return broken(
            _WORD,
            _told(s),
            f"the Service wants {families} addresses, and {listed(map(name_of, foreign))} "
            f"{verb(foreign, 'has', 'have')} none",
            f"kubectl -n {s.namespace} get pods -o wide",
        )
    for port in s.ports:
        ours = {each.address for each in s.ready_for(port)}
        lost = s.wanted_for(port) - ours
        names = {name_of(pod) for pod in s.members if _stands_for(pod, port, lost)}
        if lost:
            return broken(
                _WORD,
                _told(s),
                f"{listed(names)} {verb(names, 'is', 'are')} Ready and "
                f"{verb(names, 'matches', 'match')}, but no EndpointSlice lists {listed(lost)}: "
                "kube-controller-manager, which keeps the slices, lags or does not run",
                "kubectl -n kube-system get pods -l component=kube-controller-manager",
                lags=True,
            )
    return None


def _stands_for(pod: Json, port: ServicePort, lost: set[str]) -> bool:
    number = target_number(port, pod)
    return any(f"{ip}:{number}" in lost for ip in addresses_of(pod))


def _strangers(s: Snapshot) -> Layer | None:
    """Endpoints that take traffic and belong to no Pod that should."""
    wanted = {ip for pod in s.members for ip in addresses_of(pod)}
    for each in s.endpoints:
        if each.ready and each.ip not in wanted:
            by_hand = [
                slice_
                for slice_ in s.own_slices
                if labels_of(slice_).get(MANAGED_BY) != CONTROLLER
                and any(one.ip == each.ip for one in endpoints_of([slice_]))
            ]
            who = f"Pod {each.pod}" if each.pod else "no Pod"
            why = (
                f"EndpointSlice {name_of(by_hand[0])}, made by hand, adds it"
                if by_hand
                else "kube-controller-manager, which keeps the slices, lags or does not run"
            )
            return broken(
                _WORD,
                _told(s),
                f"the slices list {each.address} ({who}), which is none of the Service's ready "
                f"Pods, and a share of the traffic goes there; {why}",
                _look(s),
                lags=not by_hand,
            )
    return None


def _by_hand(s: Snapshot, asked: Asked) -> Layer | None:
    if not s.own_slices:
        names = [name_of(each) for each in lookalikes(s)]
        if not names:
            return None  # the selector's layer has said it
        return broken(
            _WORD,
            "no EndpointSlice is the Service's",
            f"EndpointSlice {listed(names)} does not say whose it is: it needs the label "
            f"{SERVICE_LABEL}={s.name}",
            f"kubectl -n {s.namespace} label endpointslice {names[0]} {SERVICE_LABEL}={s.name}",
        )
    if not any(each.ready for each in s.endpoints):
        return broken(
            _WORD,
            _told(s),
            f"the Service's {counted(len(s.own_slices), 'EndpointSlice')} "
            f"{verb(s.own_slices, 'lists', 'list')} no endpoint that is ready",
            _look(s),
        )
    for port in s.ports:
        if not s.ready_for(port):
            have = {
                f"{each.port_name or 'no name'} {each.port}/{each.protocol}" for each in s.endpoints
            }
            return broken(
                _WORD,
                _told(s),
                f"no EndpointSlice has the Service's port {port}: a slice's port must have the "
                f"same name and protocol, and there is {listed(have)}",
                _look(s),
            )
    gone = [
        backend.endpoint.address
        for port in s.ports
        for backend in backends_of(s, asked, port)
        if not backend.endpoint.pod and backend.state is BackendState.NO_ANSWER
    ]
    if gone and not s.policies:
        return broken(
            _WORD,
            _told(s),
            f"nobody answers at {listed(gone)}, which the Service's slices, made by hand, list",
            _look(s),
        )
    return None
