"""Words about who is behind a Service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servicelab.grading.found import Found
from servicelab.grading.vocabulary.wording import listed, whose
from servicelab.observe.endpoints import Endpoint, ready
from servicelab.observe.endpoints import endpoints as read_endpoints

if TYPE_CHECKING:
    from servicelab.grading.scene import Scene
    from servicelab.lab import Service


def behind(service: Service) -> tuple[Endpoint, ...]:
    """The endpoints that take new traffic."""
    return ready(read_endpoints(service.lab.cluster.client, service.namespace, service.name))


def ready_pods_behind(service: Service) -> set[str]:
    """Names of the Pods among them; an endpoint without a Pod goes by its address."""
    return {each.pod or each.ip for each in behind(service)}


def endpoints(scene: Scene, *, service: str, of: str) -> Found:
    """The Service has exactly a workload's Pods behind it, and at least one.

    Args:
        scene: where to look.
        service: the Service.
        of: the workload, "deployment/web".
    """
    found = scene.service(service)
    expected = f"behind Service {found.name}: {whose(of)}, all of them and nobody else"

    def look() -> tuple[frozenset[tuple[str, str]], frozenset[tuple[str, str]]]:
        wanted = frozenset((pod.name, pod.ip) for pod in scene.pods(of))
        return wanted, frozenset((each.pod, each.ip) for each in behind(found))

    sight = scene.until(
        look,
        lambda seen: bool(seen[0]) and seen[0] == seen[1],
        expecting=f"{found} to have exactly {whose(of)} behind it",
        tell=lambda seen: f"{_names(seen[1])} behind it; {whose(of)}: {_names(seen[0])}",
    )
    wanted, seen = sight.seen
    actual = f"behind it: {_names(seen)}"
    if sight.satisfied:
        return Found(True, expected, actual)
    if not wanted:
        why = f"{whose(of)} are not there"
    elif not seen:
        why = f"nobody is behind the Service, while {whose(of)} are {_names(wanted)}"
    else:
        parts = [f"{_names(wanted - seen)} is missing"] if wanted - seen else []
        parts += [f"{_names(seen - wanted)} does not belong there"] if seen - wanted else []
        why = "; ".join(parts)
    return Found(False, expected, actual, why, sight.waited_for)


def _names(pods: frozenset[tuple[str, str]]) -> str:
    return listed({name or ip for name, ip in pods}, none="nobody")
