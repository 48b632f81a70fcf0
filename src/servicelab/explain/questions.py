"""What is asked: each backend directly, then each of the Service's addresses, often enough."""

from __future__ import annotations

from collections.abc import Iterator

from servicelab.explain.answers import Asked, Goal, Place, Question
from servicelab.explain.backends import BackendState, backends_of
from servicelab.explain.objects import ServicePort, name_of
from servicelab.explain.places import node_ip
from servicelab.explain.snapshot import Snapshot
from servicelab.vantage import HttpRequest, Request, TcpRequest, UdpRequest
from servicelab.verdict.statistics import requests_to_see_all

#: For more backends than that, the requests that show them all would be a load.
_MOST_BACKENDS = 10
#: Servers there count a broken handshake against the client, so that they are only connected to.
_TALK_FIRST = frozenset({21, 22, 25, 110, 143, 465, 587, 993, 995, 1433, 1521, 3306, 5432, 6379})
_DNS_PORT = 53
#: A question for the root's name servers (RFC 1035, 4.1), which any name server answers somehow.
_DNS_QUESTION = b"\x53\x4c\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"


def backend_questions(s: Snapshot) -> tuple[Question, ...]:
    """Each backend of each port, once."""
    return tuple(
        Question("backend", each.ip, each.port or 0, port.protocol, port.name, dns=_is_dns(port))
        for port in s.ports
        if port.protocol != "SCTP"
        for each in s.ready_for(port)
    )


def service_questions(
    s: Snapshot, asked: Asked, place: Place, *, thorough: bool = True
) -> tuple[Question, ...]:
    """Each of the Service's addresses that a place is meant to reach."""
    if s.is_external_name or s.is_headless:
        return ()
    return tuple(
        Question(
            goal,
            ip,
            number,
            port.protocol,
            port.name,
            how_often(s, asked, port, thorough=thorough),
            node,
            _is_dns(port),
        )
        for port in s.ports
        if port.protocol != "SCTP"
        for goal, ip, number, node in _addresses(s, port, place)
    )


def _addresses(
    s: Snapshot, port: ServicePort, place: Place
) -> Iterator[tuple[Goal, str, int, str]]:
    """What a place asks of a port: whose address it is, the address, its port, and the node."""
    if place.kind == "outside":
        if port.node_port and s.type == "NodePort":
            for node in s.nodes:
                if ip := node_ip(node):
                    yield "node", ip, port.node_port, name_of(node)
    else:
        for ip in s.cluster_ips:
            yield "cluster", ip, port.port, ""
        for ip in s.service["spec"].get("externalIPs") or ():
            yield "external", ip, port.port, ""
    for ip in s.load_balancer_ips:
        yield "loadbalancer", ip, port.port, ""


def _is_dns(port: ServicePort) -> bool:
    return port.port == _DNS_PORT or port.name.startswith("dns")


def how_often(s: Snapshot, asked: Asked, port: ServicePort, *, thorough: bool = True) -> int:
    """How often a port is asked: as often as it takes to meet every backend.

    With one backend as often as with two, so that a second one which should not be there is met.
    """
    backends = backends_of(s, asked, port)
    working = [each for each in backends if each.state is BackendState.ANSWERS]
    if not working or (len(working) < len(backends) and not thorough):
        return 1  # what a client meets
    if s.service["spec"].get("sessionAffinity") == "ClientIP":
        return 2  # the same backend each time
    return requests_to_see_all(min(max(len(backends), 2), _MOST_BACKENDS))


def request(question: Question, timeout: float) -> Request:
    """A question as the probe asks it.

    Args:
        question: what to ask.
        timeout: seconds.
    """
    address, port = question.address, question.port
    if question.protocol == "UDP":
        payload = _DNS_QUESTION if question.dns else b"hostname"
        return UdpRequest(address, port, payload, timeout=timeout)
    if port in _TALK_FIRST:
        return TcpRequest(address, port, timeout=timeout)
    return HttpRequest(address, port, "/hostname", timeout=timeout)
