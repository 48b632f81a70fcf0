"""Kubernetes objects in JSON: what a Pod, a Service's port or an event says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service.

    Attributes:
        name: "" if it has none.
        port: the Service's number.
        protocol: TCP, UDP or SCTP.
        target: the targetPort: a number, or the name of a container's port.
        node_port: the number on every node; 0 if there is none.
        app_protocol: "" if it says none.
    """

    name: str
    port: int
    protocol: str
    target: int | str
    node_port: int = 0
    app_protocol: str = ""

    def __str__(self) -> str:
        return f"{self.port}/{self.protocol}" + (f" ({self.name})" if self.name else "")


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """One port that a container declares; a container may listen on others too."""

    container: str
    name: str
    number: int
    protocol: str

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}" + (f" ({self.name})" if self.name else "")


def name_of(thing: Json) -> str:
    """An object's name."""
    return str(thing["metadata"]["name"])


def labels_of(thing: Json) -> Mapping[str, str]:
    """An object's labels."""
    return thing["metadata"].get("labels") or {}


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether labels have every pair of a Service's selector."""
    return all(labels.get(key) == value for key, value in selector.items())


def service_ports(service: Json) -> tuple[ServicePort, ...]:
    """A Service's ports, in its order."""
    return tuple(
        ServicePort(
            name=each.get("name") or "",
            port=each["port"],
            protocol=each.get("protocol") or "TCP",
            target=each.get("targetPort") or each["port"],
            node_port=each.get("nodePort") or 0,
            app_protocol=each.get("appProtocol") or "",
        )
        for each in service["spec"].get("ports") or ()
    )


def is_going(pod: Json) -> bool:
    """It is being deleted."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_over(pod: Json) -> bool:
    """It has run to its end, and is no Service's endpoint any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_ready(pod: Json) -> bool:
    """Its Ready condition is true, and it is not being deleted."""
    return condition(pod, "Ready").get("status") == "True" and not is_going(pod)


def condition(thing: Json, kind: str) -> Json:
    """One condition of an object's status; empty if it has none of that kind."""
    conditions = (thing.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})


def addresses_of(pod: Json) -> tuple[str, ...]:
    """A Pod's addresses, of both families."""
    status = pod.get("status") or {}
    found = [each["ip"] for each in status.get("podIPs") or () if each.get("ip")]
    return tuple(found or ([status["podIP"]] if status.get("podIP") else []))


def node_of(pod: Json) -> str:
    """Where a Pod runs; "" before it is scheduled."""
    return (pod.get("spec") or {}).get("nodeName") or ""


def container_ports(pod: Json) -> Iterator[ContainerPort]:
    """The ports that a Pod's long-running containers declare, sidecars included."""
    spec = pod.get("spec") or {}
    # The order of Kubernetes' own FindPort: containers, then init containers that go on running.
    sidecars = [
        each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"
    ]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for port in container.get("ports") or ():
            yield ContainerPort(
                container.get("name", ""),
                port.get("name") or "",
                port["containerPort"],
                port.get("protocol") or "TCP",
            )


def target_number(port: ServicePort, pod: Json) -> int | None:
    """The number that a targetPort stands for in a Pod; None if no container has that name."""
    if isinstance(port.target, int):
        return port.target
    for each in container_ports(pod):
        if (each.name, each.protocol) == (port.target, port.protocol):
            return each.number
    return None


def events_about(events: Iterable[Json], kind: str, name: str) -> list[Json]:
    """The events about one object, the latest last."""
    found = [
        each
        for each in events
        if (each.get("involvedObject") or {}).get("kind") == kind
        and each["involvedObject"].get("name") == name
    ]
    return sorted(found, key=_when)


def _when(event: Json) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((each for each in times if each), "")
