"""Tracing a Service: read the rules, make one connection, read them again, and follow it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from servicelab.errors import InfrastructureError, ServicelabError
from servicelab.explain.answers import Question
from servicelab.explain.objects import name_of
from servicelab.explain.places import Asker, From, open_places
from servicelab.explain.questions import request
from servicelab.explain.reading import Access, read_snapshot
from servicelab.explain.snapshot import Snapshot
from servicelab.observe.iptables import parse_iptables
from servicelab.observe.ipvs import parse_ipvs
from servicelab.observe.model import ServiceRule, rules_for
from servicelab.observe.nftables import parse_nftables
from servicelab.observe.service_addresses import service_addresses
from servicelab.observe.unreadable import RulesUnreadable
from servicelab.trace.conntrack import Connection, new_connections, parse_conntrack
from servicelab.trace.hop import Check, Way
from servicelab.trace.kernel_told import Told, told_of, with_told
from servicelab.trace.listening import Heard, listening
from servicelab.trace.naming import trace_name
from servicelab.trace.packet import Endpoint, Packet
from servicelab.trace.proof import (
    answer_check,
    conntrack_check,
    counters_check,
    kernel_check,
    rule_for,
    rules_check,
)
from servicelab.trace.readings import Reading, read_node
from servicelab.trace.result import Backend, Trace
from servicelab.trace.sentences import sentence
from servicelab.trace.target import Target, asker_among, check_place, port_asked, target_of
from servicelab.trace.way import follow
from servicelab.vantage import HttpRequest, Reply

ASK_SECONDS = 3.0
"""Seconds for the connection: a lost SYN is sent again after 1 s, and once more after 2 s."""
_READINGS = 3
"""kube-proxy writes its tables one after the other: a reading in between isn't whole."""


def trace(
    access: Access,
    namespace: str,
    name: str,
    from_: From = "pod",
    *,
    port: int | str | None = None,
    node: str | None = None,
) -> Trace:
    """Make one connection to a Service, and follow it through the rules where it is translated.

    Args:
        access: the cluster.
        namespace: the Service's.
        name: its name.
        from_: where it is asked from.
        port: the Service's port, by number or name; None is the first one.
        node: the node that is asked from, or from outside the one whose node port is asked; None
            leaves it open.

    Raises:
        UsageError: there is no such Service, port or node, or no way to ask for it from there.
        RulesUnreadable: the rules are cut or garbled; the message names the line.
        InfrastructureError: the cluster does not answer, or has no probe to ask from.
    """
    began = time.monotonic()
    s = read_snapshot(access, namespace, name)
    check_place(s, from_, node)
    named = s.is_headless or s.is_external_name
    wanted = None if named else port_asked(s, port)
    kind: From = "node" if named and from_ == "outside" else from_
    with open_places(access, s, kind, light=False, on=node if kind == "pod" else None) as places:
        if not places.service:
            raise InfrastructureError(places.why_not or "there is no place to ask from")
        asker = asker_among(places.service, node)
        if wanted is None:
            return trace_name(s, asker, time.monotonic() - began)
        target = target_of(s, wanted, asker, node)
        seen = _connect(access, s, asker, target)
        return replace(_judged(s, asker, target, seen), seconds=time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class _Seen:
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


def _connect(access: Access, s: Snapshot, asker: Asker, target: Target) -> _Seen:
    cluster, mode = access.cluster, _mode(access)
    asked = Question(
        "cluster", target.address.ip, target.address.port, target.port.protocol, target.port.name
    )
    question = request(replace(asked, dns=_is_dns(target)), ASK_SECONDS)
    if isinstance(question, HttpRequest):
        question = replace(question, also=("/clientip",))
    node = next((each for each in cluster.nodes if each.name == target.node), None)
    if node is None:
        (reply,) = asker.vantage.ask([question])
        return _Seen(mode, None, None, (), Heard(why_not="it met no rule"), reply)

    def read() -> Reading:
        return read_node(cluster, node, mode, target.protocol, target.address)

    before, rules = _whole(access, s, mode, read)
    with listening(cluster, node.name, target.protocol, asker.place.ip, target.address) as heard:
        (reply,) = asker.vantage.ask([question])
    return _Seen(mode, before, read(), rules, heard, reply)


def _is_dns(target: Target) -> bool:
    return target.port.port == 53 or target.port.name.startswith("dns")


def _whole(
    access: Access, s: Snapshot, mode: str, read: Callable[[], Reading]
) -> tuple[Reading, tuple[ServiceRule, ...] | ServicelabError]:
    """A reading of the node's rules, and the Service's among them.

    What is of no known form, but can be read line by line, is an answer too.
    """
    for left in reversed(range(_READINGS)):
        reading = read()
        try:
            return reading, rules_for(_model(access, mode, reading), s.namespace, s.name)
        except RulesUnreadable as error:
            if not left:
                return reading, error
    raise AssertionError("there is always one more reading, or an answer")


def _model(access: Access, mode: str, reading: Reading) -> tuple[ServiceRule, ...]:
    if mode == "nftables":
        return parse_nftables(reading.texts["nft"])
    if mode == "ipvs":
        known = service_addresses(access.client)
        return parse_ipvs(reading.texts["ipvs"], reading.texts["dummy"], known)
    return parse_iptables(reading.texts["iptables"])


def _mode(access: Access) -> str:
    from servicelab.cluster.existing import ExistingCluster

    cluster = access.cluster
    return cluster.configured_mode() if isinstance(cluster, ExistingCluster) else cluster.mode


def _judged(s: Snapshot, asker: Asker, target: Target, seen: _Seen) -> Trace:
    """Follow the packet, and compare with every proof there is."""
    reply = seen.reply
    client = Endpoint(*reply.local) if reply.local else None
    way, connection = Way((), "untranslated"), None
    checks: tuple[Check, ...] = ()
    if seen.before is not None and seen.after is not None:
        connection = _connection(seen.before, seen.after, asker, client, target)
        told = told_of(seen.heard.packets, client, target.address)
        packet = Packet(
            target.protocol,
            client.ip if client else asker.place.ip,
            *target.address,
            target.enters,
            seen.before.local,
        )
        chosen = _chosen(connection, told, target.address)
        way = follow(seen.mode, seen.before, seen.after, packet, chosen, client)
        way = way.with_hops(with_told(way.hops, told))
        no_conntrack = seen.before.no_conntrack or seen.after.no_conntrack
        checks = (
            counters_check(way, seen.mode),
            conntrack_check(way, connection, target.address, no_conntrack),
            kernel_check(way, told, seen.heard.why_not),
            rules_check(way, seen.rules, target.address, target.kind),
        )
    backend = _backend(s, way.backend) if way.backend else None
    pods = tuple(name_of(pod) for pod in s.pods)
    answered_by = reply.pod if reply.pod in pods else ""
    if way.end == "backend":
        checks += (answer_check(backend.pod if backend else "", answered_by or "", pods),)
    found = Trace(
        service=f"{s.namespace}/{s.name}",
        type=s.type,
        mode=seen.mode,
        place=asker.place,
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
    before: Reading, after: Reading, asker: Asker, client: Endpoint | None, target: Target
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
    ours = [each for each in fresh if each.original.source.ip == asker.place.ip]
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
