"""MetalLB: has the Service an address from a pool, and does a node announce it?"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network, summarize_address_range
from typing import Any

from servicelab.explain.layer import Layer, Word, broken, holds, not_needed
from servicelab.explain.network_policy import selects
from servicelab.explain.objects import (
    Json,
    events_about,
    is_ready,
    labels_of,
    name_of,
    node_of,
)
from servicelab.explain.readiness import why_not_ready
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.wording import counted, listed, quoted, verb

_WORD = Word.METALLB
#: MetalLB's speakers leave such a node out.
_EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


def metallb_layer(s: Snapshot) -> Layer:
    """Was an address given, from a pool that somebody announces?"""
    if s.type != "LoadBalancer":
        return not_needed(_WORD, f"the Service is of type {s.type}")
    if not s.load_balancer_ips:
        status = (s.service.get("status") or {}).get("loadBalancer") or {}
        if names := [each.get("hostname", "") for each in status.get("ingress") or ()]:
            return holds(_WORD, f"the load balancer gave the name {listed(names)}")
        return _pending(s)
    given = listed(s.load_balancer_ips)
    if not s.metallb.known:
        return holds(_WORD, f"{given}, given by another load balancer than MetalLB")
    for ip in s.load_balancer_ips:
        if found := _unannounced(s, ip):
            return found
    pools = {name_of(pool) for ip in s.load_balancer_ips for pool in [pool_of(s, ip)] if pool}
    who = announcers(s)
    by = f", announced by {listed(who)}" if who else ""
    return holds(_WORD, f"{given} of the pool {listed(pools)}{by}")


def announcers(s: Snapshot) -> list[str]:
    """The nodes whose speakers say that they announce the Service."""
    mine = (s.name, s.namespace)
    found = [
        each["status"].get("node", "")
        for each in s.metallb.announcers
        if ((each.get("status") or {}).get("serviceName"), each["status"].get("serviceNamespace"))
        == mine
    ]
    return sorted(filter(None, found))


def pool_of(s: Snapshot, ip: str) -> Json | None:
    """The pool that an address is from."""
    return next((pool for pool in s.metallb.pools if _holds(pool, ip)), None)


def is_layer2(s: Snapshot, ip: str) -> bool:
    """Whether an address is announced by ARP."""
    pool = pool_of(s, ip)
    return pool is not None and any(_names(each, pool) for each in s.metallb.l2)


def _pending(s: Snapshot) -> Layer:
    look = f"kubectl -n {s.namespace} describe service {s.name}"
    class_ = s.service["spec"].get("loadBalancerClass") or ""
    seen = "EXTERNAL-IP <pending>"
    if class_ and "metallb" not in class_:
        wrong = f"the Service waits for a load balancer of the class {class_}, and MetalLB is none"
        return broken(_WORD, seen, wrong, look)
    if not s.metallb.known and not s.metallb.pods:
        wrong = (
            "no load balancer is installed here that could give the Service an address: "
            "EXTERNAL-IP stays <pending>; its node port works all the same"
        )
        return broken(_WORD, seen, wrong, "kubectl get pods -A -l app=metallb")
    controllers = _speaking(s, "controller")
    if not any(map(is_ready, controllers)):
        why = why_not_ready(controllers[0], s.events, s.nodes) if controllers else "there is no Pod"
        return broken(
            _WORD,
            seen,
            f"MetalLB's controller, which gives the addresses, is not Ready: {why}",
            "kubectl get pods -A -l app=metallb,component=controller -o wide",
        )
    if not s.metallb.pools:
        return broken(
            _WORD,
            f"{seen}, no IPAddressPool",
            "MetalLB has no IPAddressPool that it could take an address from",
            "kubectl get ipaddresspools -A",
        )
    refusals = [
        quoted(event.get("message", ""))
        for event in events_about(s.events, "Service", s.name)
        if event.get("reason") == "AllocationFailed"
    ]
    if refusals:
        pools = listed(map(_pool_in_words, s.metallb.pools))
        wrong = f"MetalLB gives the Service no address: {refusals[-1]}; it has {pools}"
        return broken(_WORD, seen, wrong, look)
    wrong = "MetalLB has given the Service no address, and does not say why"
    return broken(_WORD, seen, wrong, "kubectl -n metallb-system logs deployment/controller")


def _unannounced(s: Snapshot, ip: str) -> Layer | None:
    pool = pool_of(s, ip)
    if pool is None:
        return broken(
            _WORD,
            f"{ip} is of no pool",
            f"the Service has {ip}, which is in no IPAddressPool (any more)",
            "kubectl get ipaddresspools -A",
        )
    l2 = [each for each in s.metallb.l2 if _names(each, pool)]
    bgp = [each for each in s.metallb.bgp if _names(each, pool)]
    if not l2 and not bgp:
        there = [name_of(each) for each in (*s.metallb.l2, *s.metallb.bgp)]
        others = f" ({listed(there)} {verb(there, 'names', 'name')} others)" if there else ""
        return broken(
            _WORD,
            f"{ip} of the pool {name_of(pool)}, announced by nobody",
            f"no L2Advertisement and no BGPAdvertisement is for the pool {name_of(pool)}{others}: "
            f"the Service has {ip}, and nobody tells the network where that is",
            "kubectl get l2advertisements,bgpadvertisements -A",
        )
    speakers = [pod for pod in _speaking(s, "speaker") if is_ready(pod)]
    chosen = [node for node in s.nodes if any(_takes(each, node) for each in (*l2, *bgp))]
    able = {name_of(node) for node in chosen if _EXCLUDED not in labels_of(node)}
    if not {node_of(pod) for pod in speakers} & able:
        return broken(
            _WORD,
            f"{counted(len(speakers), 'speaker')} Ready",
            f"no speaker of MetalLB that may announce {ip} is Ready: the advertisements choose "
            f"{listed(able) or 'no node'}, and speakers run on "
            f"{listed(node_of(pod) for pod in speakers) or 'none'}",
            "kubectl get pods -A -l app=metallb,component=speaker -o wide",
        )
    if l2 and not bgp and s.subnets and not _inside(ip, s.subnets):
        return broken(
            _WORD,
            f"{ip} is not in {listed(s.subnets)}",
            f"{ip}, of the pool {name_of(pool)}, is not in the nodes' network {listed(s.subnets)}: "
            "nobody there asks by ARP for it; take the pool from that range",
            "kubectl get ipaddresspools -A -o yaml",
        )
    return None


def _speaking(s: Snapshot, component: str) -> list[Json]:
    """MetalLB's Pods of one component, as its manifest and its Helm chart label them."""
    keys = ("component", "app.kubernetes.io/component")
    return [pod for pod in s.metallb.pods if component in [labels_of(pod).get(key) for key in keys]]


def _pool_in_words(pool: Json) -> str:
    status = pool.get("status") or {}
    free = status.get("availableIPv4", 0) + status.get("availableIPv6", 0)
    words = f"the pool {name_of(pool)} ({', '.join(pool['spec'].get('addresses') or ())}"
    if "availableIPv4" in status:
        words += f", {free} free"
    return words + ", not automatic)" if pool["spec"].get("autoAssign") is False else words + ")"


def _holds(pool: Json, ip: str) -> bool:
    return any(_inside(ip, _ranges(each)) for each in pool["spec"].get("addresses") or ())


def _ranges(text: str) -> list[str]:
    """A pool's entry, `10.0.0.0/24` or `10.0.0.1-10.0.0.9`, as networks."""
    first, dash, last = (each.strip() for each in text.partition("-"))
    if not dash:
        return [first]
    networks: Iterable[Any] = summarize_address_range(ip_address(first), ip_address(last))
    return [str(each) for each in networks]


def _inside(ip: str, networks: Iterable[str]) -> bool:
    return any(ip_address(ip) in ip_network(each, strict=False) for each in networks)


def _names(advertisement: Json, pool: Json) -> bool:
    """Whether an advertisement is for a pool; one that names none is for every pool."""
    spec = advertisement.get("spec") or {}
    pools, selectors = spec.get("ipAddressPools") or (), spec.get("ipAddressPoolSelectors") or ()
    if not pools and not selectors:
        return True
    chosen = any(selects(each, labels_of(pool)) for each in selectors)
    return name_of(pool) in pools or chosen


def _takes(advertisement: Json, node: Json) -> bool:
    selectors = (advertisement.get("spec") or {}).get("nodeSelectors") or ()
    return not selectors or any(selects(each, labels_of(node)) for each in selectors)
