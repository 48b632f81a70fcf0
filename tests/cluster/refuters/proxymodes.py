"""For each claim of labs/proxymodes a fault in the cluster under which it does not hold.

`pytest labs/proxymodes --refute tests/cluster/refuters/proxymodes.py` runs the lab's tests under
these faults: each of them must fail, and for the reason that is expected here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from servicelab.cluster.proxy_mode import write_configuration
from servicelab.lab import Fault, Lab
from servicelab.lab.faults import in_documents, in_services, once
from servicelab.vantage import NodeVantage
from servicelab.verdict.refuter import Refuter

Document = dict[str, Any]
AFFINITY = in_services(sessionAffinity="ClientIP")


def a_trace_of_another_mode(lab: Lab) -> None:
    """One node's kernel holds what kube-proxy makes in another mode; no packet meets it."""
    node = lab.cluster.nodes[-1].name
    if lab.cluster.mode == "nftables":
        make = ("iptables", "--table", "nat", "--new-chain", "KUBE-SVC-TRACE")
        take = ("iptables", "--table", "nat", "--delete-chain", "KUBE-SVC-TRACE")
    else:
        make = ("nft", "add", "table", "ip", "kube-proxy")
        take = ("nft", "delete", "table", "ip", "kube-proxy")
    lab.cluster.docker_exec(node, *make)
    lab.on_close(lambda: lab.cluster.docker_exec(node, *take))


def headless(service: Document) -> None:
    """Give the Service no address of its own."""
    service["spec"]["clusterIP"] = "None"


def holds_the_address(lab: Lab) -> None:
    """One node has the Service's address itself."""
    address, node = lab.service("web").cluster_ip, lab.cluster.nodes[-1].name
    lab.cluster.docker_exec(node, "ip", "address", "add", f"{address}/32", "dev", "eth0")
    lab.on_close(
        lambda: lab.cluster.docker_exec(
            node, "ip", "address", "del", f"{address}/32", "dev", "eth0"
        )
    )


def keeps_the_service(lab: Lab, service: str) -> None:
    """The Service is not deleted after all."""


def takes_it_up_at_once(lab: Lab, **changes: Any) -> dict[str, Any]:
    """Every kube-proxy starts again with the new configuration, and reports its mode."""
    kube_proxy = lab.kube_proxy
    write_configuration(lab.cluster, {**kube_proxy.configuration(), **changes})
    for node in lab.cluster.node_vantages:
        kube_proxy.restart(node, changes["mode"])
    return changes


def configures(mode: str) -> Fault:
    """Another mode is configured than the test asks for."""
    return Fault(instead={"configure": lambda lab, **changes: {**changes, "mode": mode}})


def configures_what_is(lab: Lab, **changes: Any) -> dict[str, Any]:
    """The mode in force is configured."""
    return {**changes, "mode": lab.cluster.mode}


def keeps_rr(lab: Lab, node: NodeVantage, mode: str, **settings: str) -> tuple[str, dict[str, str]]:
    """Another scheduler than the test's is set."""
    return mode, {**settings, "scheduler": "rr"}


@contextmanager
def goes_on(lab: Lab) -> Iterator[None]:
    """kube-proxy is not stopped."""
    yield


HEADLESS = in_documents("Service", headless)
ALWAYS_ONE = "The client stays with one Pod."
REFUTERS = {
    refuter.claim: refuter
    for refuter in (
        Refuter(
            "PXY-01",
            once(a_trace_of_another_mode),
            expects="is the mode under test",
            why="One node's kernel shows another mode, too.",
        ),
        Refuter("PXY-02", HEADLESS, expects="has no rule for None", why="It has no address."),
        Refuter(
            "PXY-03",
            in_services(internalTrafficPolicy="Local"),
            expects="on every node to lead to",
            why="Each node leads to its own Pods only.",
        ),
        Refuter("PXY-04", AFFINITY, expects="answers equal the one 1 before", why=ALWAYS_ONE),
        Refuter("PXY-05", AFFINITY, expects="came from 1 backends", why=ALWAYS_ONE),
        Refuter("PXY-06", AFFINITY, expects="answers equal the one 1 before", why=ALWAYS_ONE),
        Refuter(
            "PXY-07",
            Fault(instead={"configure": takes_it_up_at_once}),
            expects="the ConfigMap alone changed it",
            why="The Pods were started again too early.",
        ),
        Refuter("PXY-08", HEADLESS, expects="None is not on kube-ipvs0", why="It has no address."),
        Refuter("PXY-09", HEADLESS, expects="lists no None:8080", why="It has no address."),
        Refuter(
            "PXY-10",
            Fault(instead={"run": keeps_rr}),
            expects="wrr was set, rr is used",
            why="Another scheduler was configured.",
        ),
        Refuter("PXY-11", HEADLESS, expects="lacks None", why="It has no address."),
        Refuter(
            "PXY-12",
            HEADLESS,
            expects="each node to have rules for",
            why="Headless Services have no rules at all.",
        ),
        Refuter(
            "PXY-13",
            configures("userspace"),
            expects="it ended for another reason",
            why="There is no such mode, and kube-proxy ends for that.",
        ),
        Refuter(
            "PXY-14",
            configures("userspace"),
            expects="it ended for another reason",
            why="There is no such mode, and kube-proxy ends for that.",
        ),
        Refuter(
            "PXY-15",
            Fault(instead={"configure": configures_what_is}),
            expects="DID NOT RAISE",
            why="A mode that there is is configured.",
        ),
        Refuter(
            "PXY-16",
            once(holds_the_address),
            expects="on eth0",
            why="One node holds the address itself.",
        ),
        Refuter(
            "PXY-17",
            Fault(instead={"delete_service": keeps_the_service}),
            expects="no node to have a rule for the deleted Service",
            why="The Service is still there.",
        ),
        Refuter(
            "PXY-18",
            Fault(instead={"stop_kube_proxy": goes_on}),
            expects="though no kube-proxy ran",
            why="No kube-proxy is stopped.",
        ),
    )
}
