"""A trace in one sentence."""

from __future__ import annotations

from servicelab.trace.result import Trace

_WHAT = {
    "cluster": "the Service's address",
    "node": "a node port",
    "loadbalancer": "the load balancer's address",
}


def sentence(trace: Trace) -> str:
    """What happened to the connection, in a learner's words."""
    asked = f"{_WHAT.get(trace.kind, 'the address')} {trace.asked}"
    where = f"on {trace.node} ({trace.mode} mode)"
    if not trace.node:
        return f"the packet to {asked} got to no node: {trace.why_node}"
    match trace.way.end:
        case "rejected":
            return (
                f"{asked} leads to no endpoint: {where} the packet was refused, and the client "
                f"met {trace.outcome}"
            )
        case "dropped":
            return (
                f"{asked} leads to no endpoint that may take it: {where} the packet was dropped, "
                f"and the client met {trace.outcome}"
            )
        case "untranslated":
            return (
                f"no rule of kube-proxy's {where} translated {asked}: the packet went on to an "
                f"address that nobody has, and the client met {trace.outcome}"
            )
    source = (
        "with the node's address as its source"
        if _masqueraded(trace)
        else ("with the client's own address as its source")
    )
    went = f"{asked} was translated {where} to {trace.backend}, {source}"
    if trace.contradictions:
        return f"{went}; but {trace.contradictions[0].says}"
    return went if trace.reached else f"{went}; there, the client met {trace.outcome}"


def _masqueraded(trace: Trace) -> bool:
    return trace.connection.masqueraded if trace.connection else trace.way.masqueraded
