"""For each claim of labs/scale a fault in the cluster under which it does not hold.

`pytest labs/scale --refute tests/cluster/refuters/scale.py` runs the lab's tests under these
faults: each of them must fail, and for the reason that is expected here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from servicelab.lab import Fault, Lab
from servicelab.lab.faults import once
from servicelab.verdict.refuter import Refuter

SERVICES = "10.96.0.0/16"  # kind's service network
DETOUR = "SERVICELAB-DETOUR"
#: Rules that the detour has for each Service: some more than kube-proxy's one, since fewer
#: Services are made while a claim is refuted.
RULES = 5
NOBODY = "192.0.2.1"  # of a range that is for documentation


def iptables(lab: Lab, node: str, table: str, *words: str) -> None:
    """Run iptables on a table of a node."""
    lab.cluster.docker_exec(node, "iptables", "--wait", "--table", table, *words)


def a_short_cut(lab: Lab) -> None:
    """One rule ahead of all others leads whatever asks for a Service's port 80 to the Pod."""
    (web,) = lab.ready_pods("app=web", 1)
    rule = ("PREROUTING", "--destination", SERVICES, "--protocol", "tcp", "--dport", "80")
    way = ("--jump", "DNAT", "--to-destination", f"{web.ip}:80")
    iptables(lab, web.node, "nat", "--insert", *rule, *way)
    lab.on_close(partial(iptables, lab, web.node, "nat", "--delete", *rule, *way))


def a_detour(lab: Lab) -> None:
    """Every packet meets some rules of iptables for each Service, which match nothing."""
    fillers = lab.core.list_namespaced_service(lab.namespace).items
    (web,) = lab.ready_pods("app=web", 1)
    rule = f"-A {DETOUR} -s {NOBODY} -j RETURN\n"
    # Not in the table nat, whose rules a packet passes by once others have translated it.
    text = f"*mangle\n:{DETOUR} - [0:0]\n{rule * RULES * len(fillers)}COMMIT\n"
    lab.cluster.docker_exec(web.node, "iptables-restore", "--noflush", input=text)


def begins_a_detour(lab: Lab) -> None:
    """All packets meet the chain of the detour first."""
    a_detour(lab)
    (web,) = lab.ready_pods("app=web", 1)
    iptables(lab, web.node, "mangle", "--insert", "PREROUTING", "--jump", DETOUR)
    for words in (
        ("--delete-chain", DETOUR),
        ("--flush", DETOUR),
        ("--delete", "PREROUTING", "--jump", DETOUR),
    ):
        lab.on_close(partial(iptables, lab, web.node, "mangle", *words))


def the_other_way() -> Fault:
    """What grows stays flat, and what is flat grows."""
    shorter, longer = once(a_short_cut), once(begins_a_detour)

    def after_apply(lab: Lab) -> None:
        if lab.cluster.mode == "iptables":
            shorter.after_apply(lab)
        else:
            longer.after_apply(lab)
            a_detour(lab)

    return Fault(after_apply=after_apply)


def the_same_mode(lab: Lab, *_: Any, **settings: str) -> tuple[str, dict[str, str]]:
    """Both nodes run in the mode under test."""
    return lab.cluster.mode, settings


def looked_after_by_others(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """kube-proxy is told that others look after the Services that are made in bulk."""
    for document in documents:
        if document["metadata"]["name"].startswith("filler-"):
            labels = document["metadata"]["labels"]
            labels["service.kubernetes.io/service-proxy-name"] = "nobody"
    return documents


REFUTERS = {
    refuter.claim: refuter
    for refuter in (
        Refuter(
            "SCL-01",
            the_other_way(),
            expects="mode it should",
            why="A rule ahead of all others makes it flat, or rules without a match make it grow.",
        ),
        Refuter(
            "SCL-02",
            Fault(instead={"run": the_same_mode}),
            expects="neither mode is the faster one",
            why="Both nodes run in the same mode.",
        ),
        Refuter(
            "SCL-03",
            Fault(documents=looked_after_by_others),
            expects="Service filler-9 to answer",
            why="kube-proxy leaves these Services alone, so it needs nothing for them.",
        ),
    )
}
