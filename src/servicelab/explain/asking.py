"""Asking: the cluster DNS and every backend, then the Service, from all places at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TypeVar, cast

from servicelab.errors import InfrastructureError
from servicelab.explain.answers import (
    Answers,
    ArpSeen,
    Asked,
    NameAnswer,
    Question,
    Socket,
    answers,
)
from servicelab.explain.api_proxy import ask_by_api_server
from servicelab.explain.backends import BackendState, backends_of, pod_of
from servicelab.explain.objects import name_of
from servicelab.explain.places import Asker, Places
from servicelab.explain.questions import backend_questions, request, service_questions
from servicelab.explain.reading import Access
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.sockets import read_sockets
from servicelab.vantage import DnsReply, DnsRequest, Reply
from servicelab.vantage.arp import ArpReply, ArpRequest

#: How many requests a probe has under way at once: a few that hang must not make all wait.
_WORKERS = 16
_PILOTS = 2
"""How often the Service is asked at first; one lost packet is not nobody."""
_UNCLEAR = (BackendState.REFUSED, BackendState.SILENT, BackendState.NO_ANSWER)

T = TypeVar("T")


def ask(
    access: Access, s: Snapshot, places: Places, *, timeout: float, thorough: bool = True
) -> Asked:
    """Ask everything that a Service's layers are judged by.

    Args:
        access: the cluster.
        s: what it shows.
        places: where to ask from.
        timeout: seconds for each request.
        thorough: ask the Service many times also where a backend is known to be dead, to see how
            often a client meets it.
    """
    unreached: dict[str, str] = {}
    askers = list({each.place.name: each for each in (*places.service, *places.backends)}.values())
    first = _everywhere(askers, lambda each: _first_round(s, places, each, timeout), unreached)
    asked = Asked(
        places=tuple(each.place for each in places.service),
        why_not=places.why_not,
        outside_why_not=places.outside_why_not,
        names=tuple(name for names, _ in first.values() for name in names),
        backends=tuple(answer for _, found in first.values() for answer in found),
    )
    if not askers:
        questions = backend_questions(s)
        asked = replace(asked, backends=tuple(ask_by_api_server(access, s, questions, timeout)))
    asked = replace(asked, sockets=_sockets(access, s, asked))
    asked = replace(asked, backends=(*asked.backends, *_beyond_the_name(s, places, asked, timeout)))
    second = _everywhere(
        [each for each in places.service if each.place.name not in unreached],
        lambda each: _second_round(s, asked, each, timeout, thorough),
        unreached,
    )
    reached = tuple(place for place in asked.places if place.name not in unreached)
    return replace(
        asked,
        places=reached,
        why_not=asked.why_not or ("" if reached else next(iter(unreached.values()), "")),
        unreached={
            place.name: unreached[place.name] for place in asked.places if place.name in unreached
        },
        service=tuple(answer for found, _ in second.values() for answer in found),
        arp=tuple(seen for _, arp in second.values() for seen in arp),
    )


def _everywhere(
    askers: Sequence[Asker], ask_one: Callable[[Asker], T], unreached: dict[str, str]
) -> dict[str, T]:
    """Ask from all places at once; places that can't be asked from are taken down."""

    def attempt(asker: Asker) -> T | InfrastructureError:
        try:
            return ask_one(asker)
        except InfrastructureError as error:
            return error

    found: dict[str, T] = {}
    if not askers:
        return found
    with ThreadPoolExecutor(max_workers=len(askers)) as asking:
        for asker, outcome in zip(askers, asking.map(attempt, askers), strict=True):
            if isinstance(outcome, InfrastructureError):
                unreached[asker.place.name] = outcome.problem
            else:
                found[asker.place.name] = outcome
    return found


def _first_round(
    s: Snapshot, places: Places, asker: Asker, timeout: float
) -> tuple[list[NameAnswer], list[Answers]]:
    """The Service's name, and each backend directly."""
    names = _name_requests(s) if asker.place.kind != "outside" else []
    questions = backend_questions(s) if asker in places.backends else ()
    requests = [*names, *(request(each, timeout) for each in questions)]
    replies = iter(asker.vantage.ask(requests, workers=_WORKERS))
    named = [
        NameAnswer.of(asker.place, asked.name, cast(DnsReply, reply))
        for asked, reply in zip(names, replies, strict=False)
    ]
    found = [
        answers(asker.place, each, [reply]) for each, reply in zip(questions, replies, strict=True)
    ]
    return named, found


def _name_requests(s: Snapshot) -> list[DnsRequest]:
    server = ((s.dns_service or {}).get("spec") or {}).get("clusterIP")
    if not server:
        return []
    kind = "AAAA" if s.cluster_ips and all(":" in ip for ip in s.cluster_ips) else "A"
    return [DnsRequest(s.dns_name, kind, server)]


def _second_round(
    s: Snapshot, asked: Asked, asker: Asker, timeout: float, thorough: bool
) -> tuple[list[Answers], list[ArpSeen]]:
    """Each of the Service's addresses, and ARP for those that a load balancer gave."""
    questions = service_questions(s, asked, asker.place, thorough=thorough)
    found = _often(asker, questions, timeout)
    seen = []
    if asker.place.kind == "outside":
        wanted = [ArpRequest(ip) for ip in s.load_balancer_ips if ":" not in ip]
        for asked_for, reply in zip(wanted, asker.vantage.ask(wanted), strict=True):
            seen.append(ArpSeen(asked_for.address, cast(ArpReply, reply).macs))
    return found, seen


def _often(asker: Asker, questions: Sequence[Question], timeout: float) -> list[Answers]:
    """Ask each question as often as it says, but a few times only where nobody answers.

    There, more of the same would show no more, and take its time-outs.
    """
    pilots = [replace(each, times=min(each.times, _PILOTS)) for each in questions]
    first = _repeated(asker, pilots, timeout)
    left = [
        replace(each, times=each.times - pilot.times)
        if answers(asker.place, pilot, replies).answered
        else replace(each, times=0)
        for each, pilot, replies in zip(questions, pilots, first, strict=True)
    ]
    rest = _repeated(asker, left, timeout)
    return [
        answers(asker.place, replace(each, times=len(some) + len(more)), [*some, *more])
        for each, some, more in zip(questions, first, rest, strict=True)
    ]


def _repeated(asker: Asker, questions: Sequence[Question], timeout: float) -> list[Sequence[Reply]]:
    """The replies to each question, as many as it says."""
    requests = [request(each, timeout) for each in questions for _ in range(each.times)]
    replies = iter(asker.vantage.ask(requests, workers=_WORKERS))
    return [list(islice(replies, each.times)) for each in questions]


def _sockets(access: Access, s: Snapshot, asked: Asked) -> Mapping[str, tuple[Socket, ...]]:
    """What those Pods listen on whose answer leaves it open."""
    cluster = access.cluster
    if not cluster.ours:
        return {}
    pods = {
        name_of(pod): pod
        for port in s.ports
        for backend in backends_of(s, asked, port)
        if backend.state in _UNCLEAR and (pod := pod_of(s, backend))
    }
    if not pods:
        return {}
    with ThreadPoolExecutor(max_workers=min(8, len(pods))) as reading:
        found = reading.map(lambda pod: read_sockets(cluster, pod), pods.values())
        return {name: sockets for name, sockets in zip(pods, found, strict=True) if sockets}


def _beyond_the_name(s: Snapshot, places: Places, asked: Asked, timeout: float) -> list[Answers]:
    """What stands behind an external name, at the TCP ports that the Service lists."""
    address = next((ip for name in asked.names for ip in name.addresses), "")
    if not s.is_external_name or not address or not places.backends:
        return []
    questions = [
        Question("backend", address, port.port, port.protocol, port.name)
        for port in s.ports
        if port.protocol == "TCP"
    ]
    asker = places.backends[0]
    return [
        answers(asker.place, each, said)
        for each, said in zip(questions, _repeated(asker, questions, timeout), strict=True)
    ]
