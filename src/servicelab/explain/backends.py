"""Each backend of a port, and what it said when it was asked directly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from servicelab.explain.answers import SILENT, Answers, Asked
from servicelab.explain.objects import Json, ServicePort, container_ports, name_of
from servicelab.explain.snapshot import Snapshot
from servicelab.observe.endpoints import Endpoint

#: Ports at which silence after an HTTP request is not another protocol's, but a hanging server.
_WEB_PORTS = frozenset({80, 3000, 5000, 8000, 8008, 8080, 8081, 8888})


class BackendState(StrEnum):
    """What asking a backend directly showed."""

    ANSWERS = "answers"
    REFUSED = "refused"
    """Its address is there, and nobody listens at the port."""
    NO_ANSWER = "does not answer"
    """Nothing came back, from nowhere."""
    HANGS = "hangs"
    """It takes the connection, or the datagram, as its like do, and never answers."""
    SILENT = "accepts, and says nothing"
    """It may be waiting for a protocol that was not spoken."""
    FROM_SOME = "answers some places only"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class BackendSeen:
    """A backend and what it said.

    Attributes:
        endpoint: the backend.
        state: all places taken together.
        met: what was met instead of an answer, by place.
    """

    endpoint: Endpoint
    state: BackendState
    met: Mapping[str, str]

    @property
    def name(self) -> str:
        """Its Pod's name, else its address."""
        return self.endpoint.pod or self.endpoint.address

    @property
    def works(self) -> bool:
        """Whether it takes what is sent to it, as far as can be told."""
        return self.state in (BackendState.ANSWERS, BackendState.SILENT)


def backends_of(s: Snapshot, asked: Asked, port: ServicePort) -> tuple[BackendSeen, ...]:
    """Every backend of a port that takes traffic, with what it said."""
    answers = [
        each
        for each in asked.backends
        if (each.question.port_name, each.question.protocol) == (port.name, port.protocol)
    ]
    # To one and the same question, what answers elsewhere shows that it could be answered.
    expects_answer = any(each.answered for each in answers) or _is_web(s, port)
    by_target: dict[str, list[Answers]] = {}
    for each in answers:
        by_target.setdefault(each.question.target, []).append(each)
    return tuple(
        _seen(endpoint, by_target.get(_target(endpoint), []), expects_answer)
        for endpoint in s.ready_for(port)
    )


def asked_directly(s: Snapshot, asked: Asked) -> bool:
    """Whether every backend of every port was asked, and there is one."""
    found = [backend for port in s.ports for backend in backends_of(s, asked, port)]
    return bool(found) and all(each.state is not BackendState.NOT_ASKED for each in found)


def _target(endpoint: Endpoint) -> str:
    host = f"[{endpoint.ip}]" if ":" in endpoint.ip else endpoint.ip
    return f"{host}:{endpoint.port}"


def _seen(endpoint: Endpoint, answers: Iterable[Answers], expects_answer: bool) -> BackendSeen:
    states = {str(each.place): _state(each, expects_answer) for each in answers}
    met = {str(each.place): each.met for each in answers if each.errors}
    found = set(states.values())
    if not found:
        state = BackendState.NOT_ASKED
    elif len(found) == 1:
        (state,) = found
    elif BackendState.ANSWERS in found or BackendState.SILENT in found:
        state = BackendState.FROM_SOME
    elif BackendState.REFUSED in found:
        state = BackendState.REFUSED
    else:
        state = BackendState.NO_ANSWER
    return BackendSeen(endpoint, state, met)


def _state(answers: Answers, expects_answer: bool) -> BackendState:
    if answers.answered:
        return BackendState.ANSWERS
    if SILENT in answers.errors:
        return BackendState.HANGS if expects_answer else BackendState.SILENT
    return BackendState.REFUSED if "refused" in answers.errors else BackendState.NO_ANSWER


def _is_web(s: Snapshot, port: ServicePort) -> bool:
    """Whether what stands behind a port answers HTTP, by what is written about it."""
    if port.protocol != "TCP":
        return False
    if port.app_protocol:
        return port.app_protocol.lower() == "http"
    if port.name.startswith("http") and not port.name.startswith("https"):
        return True
    numbers = {port.port, *(each.port for each in s.ready_for(port) if each.port)}
    return bool(numbers & _WEB_PORTS) or any(_is_probed(pod, numbers) for pod in s.members)


def _is_probed(pod: Json, numbers: set[int]) -> bool:
    """Whether the kubelet asks one of these ports of a Pod by HTTP."""
    names = {each.name: each.number for each in container_ports(pod)}
    for container in pod["spec"]["containers"]:
        for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
            target = ((container.get(kind) or {}).get("httpGet") or {}).get("port")
            if target in numbers or names.get(str(target)) in numbers:
                return True
    return False


def listens(asked: Asked, backend: BackendSeen, protocol: str) -> bool:
    """Whether a Pod's sockets show somebody listening at a backend's port."""
    mine = asked.sockets.get(backend.endpoint.pod) or ()
    return any(
        (each.port, each.protocol) == (backend.endpoint.port, protocol) and not each.only_inside
        for each in mine
    )


def names(backends: Iterable[BackendSeen]) -> list[str]:
    """What backends are called."""
    return [each.name for each in backends]


def pod_of(s: Snapshot, backend: BackendSeen) -> Json | None:
    """The Pod behind a backend."""
    return next((pod for pod in s.pods if name_of(pod) == backend.endpoint.pod), None)
