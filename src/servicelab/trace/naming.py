"""Services without an address of their own: DNS gives what others get from rules."""

from __future__ import annotations

from typing import cast

from servicelab.errors import InfrastructureError
from servicelab.explain.places import Asker
from servicelab.explain.snapshot import Snapshot
from servicelab.trace.hop import Check, Hop, Way
from servicelab.trace.result import Trace
from servicelab.vantage import DnsReply, DnsRequest

ASK_SECONDS = 3.0
"""Seconds for the name server's answer."""


def trace_name(s: Snapshot, asker: Asker, seconds: float) -> Trace:
    """Ask the cluster DNS for a headless Service, or one with an external name.

    Args:
        s: the Service.
        asker: where to ask from.
        seconds: how long it has taken so far.

    Raises:
        InfrastructureError: the cluster has no DNS.
    """
    server = ((s.dns_service or {}).get("spec") or {}).get("clusterIP")
    if not server:
        raise InfrastructureError("the cluster has no Service kube-dns in kube-system to ask")
    reply = cast(
        "DnsReply", asker.vantage.ask([DnsRequest(s.dns_name, "A", server, timeout=ASK_SECONDS)])[0]
    )
    records = tuple(str(each) for each in reply.answer)
    kind = "ExternalName" if s.is_external_name else "headless"
    answered = reply.error is None and reply.rcode == "NOERROR" and bool(records)
    outcome = str(reply.error) if reply.error else reply.rcode
    hop = Hop(
        "dns",
        "cluster DNS",
        "",
        "\n".join(records) or f"{s.dns_name} A: {outcome}, no record",
        f"the name {s.dns_name}",
        _does(s, reply),
        "answer" if answered else outcome,
    )
    check = Check(
        "dns",
        answered,
        f"{server} answered {outcome} with {len(records)} records"
        if reply.error is None
        else f"{server} did not answer: {outcome}",
    )
    return Trace(
        service=f"{s.namespace}/{s.name}",
        type=s.type if s.is_external_name else "headless",
        mode="",
        place=asker.place,
        asked=s.dns_name,
        protocol="DNS",
        kind="name",
        node="",
        why_node="",
        way=Way((hop,), "name"),
        backend=None,
        choices=(),
        connection=None,
        outcome=outcome,
        answered_by="",
        reached=answered,
        seen_as="",
        checks=(check,),
        sentence=_sentence(kind, s, reply, answered),
        seconds=seconds,
    )


def _does(s: Snapshot, reply: DnsReply) -> str:
    aliases = [each.rstrip(".") for each in reply.data("CNAME")]
    if s.is_external_name:
        target = aliases[0] if aliases else str(s.service["spec"].get("externalName", ""))
        return f"says that it is another name for {target}, which the client asks instead"
    pods = {each.ip: each.pod for each in s.endpoints if each.pod}
    named = [f"{ip} ({pods[ip]})" if ip in pods else ip for ip in reply.addresses]
    return f"gives the addresses of its Pods themselves: {', '.join(named) or 'none'}"


def _sentence(kind: str, s: Snapshot, reply: DnsReply, answered: bool) -> str:
    which = "an ExternalName" if s.is_external_name else "a headless"
    none = f"no rule is involved: {which} Service has no address that kube-proxy could translate"
    if not answered:
        why = "no Pod is ready" if kind == "headless" and reply.error is None else "see `explain`"
        return f"{none}, and DNS gives nothing instead ({why})"
    if s.is_external_name:
        return f"{none}; DNS gives another name instead, and the client goes where that leads"
    count = len(reply.addresses)
    return (
        f"{none}; DNS gives the addresses of its {count} ready Pods instead, and the client picks "
        "one and connects to it directly"
    )
