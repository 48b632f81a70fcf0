"""The proofs of a way: counters, the kernel's memory, its own words, the rules, who answered."""

from __future__ import annotations

from collections.abc import Sequence

from servicelab.errors import ServicelabError
from servicelab.explain.wording import listed
from servicelab.observe.ipvs_table import IpvsConnection
from servicelab.observe.model import ServiceRule
from servicelab.trace.conntrack import Connection
from servicelab.trace.hop import Check, Way
from servicelab.trace.kernel_told import Told
from servicelab.trace.packet import Endpoint

_MODES_COUNT = ("iptables", "ipvs")


def counters_check(way: Way, mode: str) -> Check:
    """Did the counter of each rule on the way move?"""
    counted = [hop for hop in way.hops if hop.moved is not None]
    still = [hop for hop in counted if not hop.moved]
    if still and way.was_written_anew:
        return Check(
            "counters", None, "kube-proxy wrote rules anew meanwhile, whose counters began again"
        )
    if still:
        return Check(
            "counters",
            False,
            f"the counter of {still[0].chain or still[0].table} did not move "
            f"({still[0].before} packets, still): {still[0].rule}",
        )
    if counted:
        return Check("counters", True, f"{_count(len(counted))} moved with this connection")
    if mode not in _MODES_COUNT:
        return Check(
            "counters", None, "kube-proxy's nftables rules have no counters; the rest is the proof"
        )
    return Check("counters", None, "no rule on the way has a counter that could be compared")


def conntrack_check(
    way: Way, connection: Connection | None, asked: Endpoint, why_not: str
) -> Check:
    """Does the kernel's memory of the connection lead where the rules do?"""
    if why_not:
        return Check("conntrack", None, f"the kernel's connections were not read: {why_not}")
    if way.end in ("rejected", "dropped"):
        if connection is None or connection.backend is None:
            return Check("conntrack", True, "no connection was made, so conntrack has none")
        return Check("conntrack", False, f"there is a connection to {connection.backend}")
    if connection is None:
        held = None if way.end == "untranslated" else False
        return Check("conntrack", held, f"conntrack has no connection to {asked}")
    if connection.backend != way.backend:
        other = connection.backend or "nobody else: its destination was not changed"
        says = f"the connection was sent to {other}, the rules lead to {way.backend or 'nobody'}"
        return Check("conntrack", False, says)
    if connection.backend is None:
        return Check("conntrack", True, "its destination was not changed")
    source = (
        f", which sees it come from {connection.seen_as}"
        if connection.masqueraded
        else ", which sees the client's own address"
    )
    return Check(
        "conntrack", True, f"{connection.original} was sent to {connection.backend}{source}"
    )


def kernel_check(
    way: Way, told: Told | None, why_not: str, unheard: Endpoint | None = None
) -> Check:
    """Did the kernel itself name the same rules?

    Args:
        way: the way, its hops marked with what was told.
        told: the packet that the kernel told of.
        why_not: why it could not tell; "" if it could.
        unheard: a destination that says nothing: ip_vs sends packets on outside nftables' sight.
    """
    if why_not or told is None:
        return Check("kernel", None, why_not or "the kernel told nothing of this packet")
    ours = [hop for hop in way.hops if hop.told is not None]
    if not any(step.table in ("nat", "kube-proxy") for step in told.steps):
        return Check("kernel", None, "the kernel told of no rule that kube-proxy could have made")
    untold = [hop for hop in ours if not hop.told]
    if untold:
        says = f"it did not name a rule of {untold[0].chain}: {untold[0].rule}"
        return Check("kernel", False, says)
    if way.end == "backend" and told.destination not in (way.backend, unheard):
        says = f"it told of a packet to {told.destination}, the rules lead to {way.backend}"
        return Check("kernel", False, says)
    return Check(
        "kernel", True, f"asked to trace the packet, it named {_count(len(ours))}, in this order"
    )


def ipvs_check(way: Way, remembered: IpvsConnection | None) -> Check:
    """Does IPVS' own memory of the connection lead where the way does?"""
    if remembered is None:
        refused = way.end != "backend"
        return Check("ip_vs", True if refused else None, "ip_vs has no connection of this client")
    real = Endpoint(*remembered.real)
    return Check("ip_vs", real == way.backend, f"ip_vs sent it to {real}: {remembered.line}")


def rule_for(rules: Sequence[ServiceRule], asked: Endpoint, kind: str) -> ServiceRule | None:
    """A node's rule for an address and port of a Service; None if it has none."""
    ip = "" if kind == "node" else asked.ip
    return next((each for each in rules if (each.ip, each.port) == (ip, asked.port)), None)


def rules_check(
    way: Way, rules: Sequence[ServiceRule] | ServicelabError, asked: Endpoint, kind: str
) -> Check:
    """Is where it went one of the endpoints that the node's rules have for the address?"""
    if isinstance(rules, ServicelabError):
        return Check("rules", False, rules.problem)
    rule = rule_for(rules, asked, kind)
    if rule is None:
        return Check("rules", False, f"the node has no rule for {asked}")
    backends = {Endpoint(each.ip, each.port) for each in rule.backends}
    if way.end != "backend":
        holds = rule.rejects or rule.drops or not backends
        return Check("rules", holds, _refusing(rule) if holds else _leading(backends, asked))
    holds = way.backend in backends
    return Check("rules", holds, _leading(backends, asked) + ("" if holds else ", not there"))


def answer_check(pod: str, answered_by: str, known: Sequence[str]) -> Check:
    """Is the Pod that answered the one that the way leads to?

    Args:
        pod: the Pod at the end of the way; "" if there is none.
        answered_by: who said to answer; "" if nobody did.
        known: the Pods of the namespace.
    """
    if answered_by not in known or not pod:
        return Check("answer", None, "who answered did not say which Pod it is")
    if answered_by != pod:
        return Check("answer", False, f"{answered_by} answered, the way leads to {pod}")
    return Check("answer", True, f"{pod} said that it answered")


def _refusing(rule: ServiceRule) -> str:
    return "the node drops it" if rule.drops else "the node's rules have no endpoint for it"


def _leading(backends: set[Endpoint], asked: Endpoint) -> str:
    return f"{asked} leads to {listed(str(each) for each in backends)}"


def _count(number: int) -> str:
    return f"{number} {'rule' if number == 1 else 'rules'}"
