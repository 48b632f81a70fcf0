"""What MetalLB says about a Service: the address it gave, and who announces it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from servicelab.verdict import Missing, deadlines, eventually
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from servicelab.lab import Service

ASSIGNED = "IPAllocated"
FAILED = "AllocationFailed"
ANNOUNCED = "nodeAssigned"
_ANNOUNCER = re.compile(r'announcing from node "(?P<node>[^"]+)" with protocol "(?P<protocol>\w+)"')


def external_ips(service: Service) -> tuple[str, ...]:
    """The addresses that a load balancer gave the Service; () while it is pending."""
    return _ips(service.read())


def wait_for_address(service: Service, address: str | None = None) -> str:
    """Wait until a load balancer has given the Service an address.

    Args:
        service: of type LoadBalancer.
        address: the one it should be; None for any.

    Raises:
        NotProved: it has none, or another, at `vip_given`; says what MetalLB's events say.
    """
    wanted = f"the address {address}" if address else "an address"

    def given(services: Mapping[str, Any]) -> bool | Missing:
        ips = _ips(services[service.name]) if service.name in services else ()
        if not ips:
            return Missing(_latest(service, FAILED) or "no event says why not")
        return address is None or ips == (address,)

    found = watch_until(
        service.lab.core.list_namespaced_service,
        given,
        deadline=deadlines.current().vip_given,
        expecting=f"{service} to be given {wanted}",
        tell=lambda services: _in_words(services.get(service.name)),
        namespace=service.namespace,
        field_selector=f"metadata.name={service.name}",
    )
    return _ips(found[service.name])[0]


def wait_for_refusal(service: Service) -> str:
    """Wait until MetalLB says that it has no address for the Service; returns its words.

    Raises:
        NotProved: it gave one, or said nothing at `vip_given`.
    """

    def decided(seen: tuple[tuple[str, ...], str]) -> str | None:
        ips, _ = seen
        return f"it was given {', '.join(ips)}" if ips else None

    _, said = eventually(
        lambda: (external_ips(service), _latest(service, FAILED)),
        lambda seen: not seen[0] and bool(seen[1]),
        give_up=decided,
        deadline=deadlines.current().vip_given,
        expecting=f"{service} to stay pending, with an event {FAILED}",
        tell=lambda seen: f"{', '.join(seen[0]) or '<pending>'}, {seen[1] or 'no such event'}",
    )
    return said


def wait_for_event(service: Service, reason: str) -> str:
    """Wait for an event about the Service; returns its message, the latest if there are several.

    Raises:
        NotProved: there is none at `vip_given`.
    """

    def about(events: Mapping[str, Any]) -> list[Any]:
        return [each for each in events.values() if each.reason == reason]

    found = watch_until(
        service.lab.core.list_namespaced_event,
        lambda events: bool(about(events)),
        deadline=deadlines.current().vip_given,
        expecting=f"an event {reason} about {service}",
        tell=lambda events: ", ".join(sorted({each.reason for each in events.values()})) or "none",
        namespace=service.namespace,
        field_selector=f"involvedObject.name={service.name}",
    )
    return str(max(about(found), key=_when).message)


def wait_for_announcer(service: Service) -> str:
    """The node that the Service's latest event names as the announcer of its address.

    Raises:
        NotProved: no event names one, at `vip_given`.
    """
    match = _ANNOUNCER.search(wait_for_event(service, ANNOUNCED))
    assert match is not None, "MetalLB says in other words who announces an address"
    return match["node"]


def _latest(service: Service, reason: str) -> str:
    events = service.lab.core.list_namespaced_event(
        service.namespace,
        field_selector=f"involvedObject.name={service.name},reason={reason}",
    ).items
    return str(max(events, key=_when).message) if events else ""


def _when(event: Any) -> int:
    # An event's own times are whole seconds; the API server's versions go up with each change.
    return int(event.metadata.resource_version)


def _ips(service: Any) -> tuple[str, ...]:
    return tuple(each.ip for each in service.status.load_balancer.ingress or () if each.ip)


def _in_words(service: Any) -> str:
    if service is None:
        return "there is no such Service"
    return ", ".join(_ips(service)) or "<pending>"
