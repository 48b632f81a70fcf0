"""NetworkPolicies: which of them keep a place from a Pod's port."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any

from servicelab.explain.answers import Asked, Place
from servicelab.explain.objects import Json, container_ports, labels_of, name_of
from servicelab.explain.snapshot import Snapshot

#: Labels of the Pods that are asked from, and of their namespace: none that a user would allow.
_OURS = {"app.kubernetes.io/managed-by": "servicelab"}


def isolating(s: Snapshot, pod: Json) -> list[Json]:
    """The policies that select a Pod for what comes in: what none of them allows is denied."""
    return [
        policy
        for policy in s.policies
        if "Ingress" in (policy["spec"].get("policyTypes") or ("Ingress",))
        and selects(policy["spec"].get("podSelector") or {}, labels_of(pod))
    ]


def blocking(s: Snapshot, pod: Json, port: int | None, protocol: str, asked: Asked) -> list[Json]:
    """The policies because of which no place that was asked from may reach a Pod's port."""
    policies = isolating(s, pod)
    if any(admits(policies, pod, port, protocol, place) for place in asked.places):
        return []
    return policies


def admits(
    policies: Iterable[Json], pod: Json, port: int | None, protocol: str, place: Place
) -> bool:
    """Whether policies that isolate a Pod let a place reach its port."""
    policies = list(policies)
    return not policies or any(
        _fits_port(rule, pod, port, protocol) and _fits_peer(rule, place)
        for policy in policies
        for rule in policy["spec"].get("ingress") or ()
    )


def selects(selector: Json, labels: Json) -> bool:
    """Whether a label selector, with expressions, matches labels; an empty one matches all."""
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def _holds(expression: Json, labels: Json) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _fits_port(rule: Json, pod: Json, port: int | None, protocol: str) -> bool:
    ports = rule.get("ports")
    if not ports:
        return True
    return any(
        (each.get("protocol") or "TCP") == protocol and _fits_number(each, pod, port)
        for each in ports
    )


def _fits_number(given: Json, pod: Json, port: int | None) -> bool:
    wanted: Any = given.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return any(each.name == wanted and each.number == port for each in container_ports(pod))
    return port is not None and wanted <= port <= (given.get("endPort") or wanted)


def _fits_peer(rule: Json, place: Place) -> bool:
    peers = rule.get("from")
    return not peers or any(_is_peer(peer, place) for peer in peers)


def _is_peer(peer: Json, place: Place) -> bool:
    if block := peer.get("ipBlock"):
        if not place.ip:
            return False
        address = ip_address(place.ip)
        return address in ip_network(block["cidr"], strict=False) and not any(
            address in ip_network(each, strict=False) for each in block.get("except") or ()
        )
    # A Pod of ours lives in a namespace of ours; a node and an outside host are no Pods.
    return (
        place.kind == "pod"
        and "namespaceSelector" in peer
        and selects(peer["namespaceSelector"] or {}, _OURS)
        and selects(peer.get("podSelector") or {}, _OURS)
    )


def names(policies: Iterable[Json]) -> list[str]:
    """What policies are called."""
    return [name_of(each) for each in policies]
