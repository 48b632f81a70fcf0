"""Tracing a Service: read the rules, make one connection, read them again, and follow it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from servicelab.errors import InfrastructureError, ServicelabError
from servicelab.explain.answers import Question
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
from servicelab.trace.judging import Seen, judged
from servicelab.trace.listening import Heard, listening
from servicelab.trace.naming import trace_name
from servicelab.trace.readings import Reading, read_node
from servicelab.trace.result import Trace
from servicelab.trace.target import Target, asker_among, check_place, port_asked, target_of
from servicelab.vantage import HttpRequest

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
        found = _judged(access, s, asker, target)
        return replace(found, seconds=time.monotonic() - began)


def _judged(access: Access, s: Snapshot, asker: Asker, target: Target) -> Trace:
    """One connection and its way; another one if kube-proxy wrote rules of the way meanwhile."""
    for _ in range(_READINGS - 1):
        found = judged(s, asker.place, target, _connect(access, s, asker, target))
        if not found.way.was_written_anew:
            return found
    return judged(s, asker.place, target, _connect(access, s, asker, target))


def _connect(access: Access, s: Snapshot, asker: Asker, target: Target) -> Seen:
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
        return Seen(mode, None, None, (), Heard(why_not="it met no rule"), reply)

    def read() -> Reading:
        return read_node(cluster, node, mode, target.protocol, target.address)

    before, rules = _whole(access, s, mode, read)
    with listening(cluster, node.name, target.protocol, asker.place.ip, target.address) as heard:
        (reply,) = asker.vantage.ask([question])
    return Seen(mode, before, read(), rules, heard, reply)


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
