"""Judging a trace: follow the packet through what was read, and hold it against every proof."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servicelab.errors import ServicelabError
from servicelab.explain.answers import Place
from servicelab.explain.objects import name_of
from servicelab.explain.snapshot import Snapshot
from servicelab.observe.ipvs_table import parse_connections
from servicelab.observe.model import ServiceRule
from servicelab.trace.conntrack import Connection, new_connections, parse_conntrack
from servicelab.trace.hop import Check, Way
from servicelab.trace.ipvs_walk import connection_of
from servicelab.trace.kernel_told import Told, told_of, with_told
from servicelab.trace.listening import Heard
from servicelab.trace.packet import Endpoint, Packet
from servicelab.trace.proof import (
    answer_check,
    conntrack_check,
    counters_check,
    ipvs_check,
    kernel_check,
    rule_for,
    rules_check,
)
from servicelab.trace.readings import Reading
from servicelab.trace.result import Backend, Trace
from servicelab.trace.sentences import sentence
from servicelab.trace.target import Target
from servicelab.trace.way import follow
from servicelab.vantage import Reply


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to judge by.

    Attributes:
        mode: kube-proxy's mode.
        before: the node before the connection; None if the packet gets to no node.
        after: the same afterwards.
        rules: the Service's rules; or why they can't be one model.
        heard: what the kernel told.
        reply: what came back.
    """

    mode: str
    before: Reading | None
    after: Reading | None
    rules: tuple[ServiceRule, ...] | ServicelabError
    heard: Heard
    reply: Reply


def judged(s: Snapshot, place: Place, target: Target, seen: Seen) -> Trace:
    """Follow the packet, and compare with every proof there is.

    Args:
        s: the Service, and what the cluster shows of it.
        place: where it was asked from.
        target: what was asked.
        seen: what there is to judge by.

    Raises:
        RulesUnreadable: the rules on the packet's way are cut or garbled; the message names the
            line.
    """
    reply = seen.reply
    client = Endpoint(*reply.local) if reply.local else None
    way, connection = Way((), "untranslated"), None
    checks: tuple[Check, ...] = ()
    if seen.before is not None and seen.after is not None:
        connection = _connection(seen.before, seen.after, place, client, target)
        told = told_of(seen.heard.packets, client, target.address)
        packet = Packet(
            target.protocol,
            client.ip if client else place.ip,
            *target.address,
            target.enters,
            seen.before.local,
        )
        chosen = _chosen(connection, told, target.address)
        way = follow(seen.mode, seen.before, seen.after, packet, chosen, client)
        way = way.with_hops(with_told(way.hops, told, certain=seen.mode != "ipvs"))
        no_conntrack = seen.before.no_conntrack or seen.after.no_conntrack
        checks = (
            counters_check(way, seen.mode),
            conntrack_check(way, connection, target.address, no_conntrack),
            kernel_check(
                way, told, seen.heard.why_not, target.address if seen.mode == "ipvs" else None
            ),
            rules_check(way, seen.rules, target.address, target.kind),
        )
        if seen.mode == "ipvs":
            remembered = parse_connections(seen.after.texts["ipvs_connections"])
            checks += (ipvs_check(way, connection_of(remembered, client, target.address)),)
    backend = _backend(s, way.backend) if way.backend else None
    pods = tuple(name_of(pod) for pod in s.pods)
    answered_by = reply.pod if reply.pod in pods else ""
    if way.end == "backend":
        checks += (answer_check(backend.pod if backend else "", answered_by or "", pods),)
    found = Trace(
        service=f"{s.namespace}/{s.name}",
        type=s.type,
        mode=seen.mode,
        place=place,
        asked=str(target.address),
        protocol=target.port.protocol,
        kind=target.kind,
        node=target.node,
        why_node=target.why,
        way=way,
        backend=backend,
        choices=_choices(s, seen.rules, target),
        connection=connection,
        outcome=str(reply.error or "") or reply.outcome,
        answered_by=answered_by or "",
        reached=reply.local is not None and (reply.ok or reply.pod is not None),
        seen_as=reply.client_ip or "",
        checks=checks,
        sentence="",
    )
    return replace(found, sentence=sentence(found))


def _connection(
    before: Reading, after: Reading, place: Place, client: Endpoint | None, target: Target
) -> Connection | None:
    """conntrack's entry for the connection; without its source port, the only one that is new."""
    if before.conntrack is None or after.conntrack is None:
        return None
    entries = [
        each
        for each in parse_conntrack(after.conntrack)
        if each.original.destination == target.address and each.protocol == target.protocol
    ]
    if client is not None:
        return next((each for each in entries if each.original.source == client), None)
    fresh = new_connections(parse_conntrack(before.conntrack), entries)
    ours = [each for each in fresh if each.original.source.ip == place.ip]
    return ours[0] if len(ours) == 1 else None


def _chosen(connection: Connection | None, told: Told | None, asked: Endpoint) -> Endpoint | None:
    """The endpoint that the kernel chose, by its memory, else by its own words."""
    if connection is not None:
        return connection.backend
    heard = told.destination if told else None
    return None if heard == asked else heard


def _choices(
    s: Snapshot, rules: tuple[ServiceRule, ...] | ServicelabError, target: Target
) -> tuple[Backend, ...]:
    if isinstance(rules, ServicelabError):
        return ()
    rule = rule_for(rules, target.address, target.kind)
    found = rule.backends if rule else ()
    return tuple(_backend(s, Endpoint(each.ip, each.port)) for each in found)


def _backend(s: Snapshot, address: Endpoint) -> Backend:
    """An address, with the Pod and node that the EndpointSlices give for it."""
    for each in s.endpoints:
        if (each.ip, each.port) == address:
            return Backend(address, each.pod, each.node)
    return Backend(address)
