"""ARP: does a node say that a load balancer's address is its own?"""

from __future__ import annotations

from servicelab.explain.answers import ArpSeen, Asked
from servicelab.explain.layer import Layer, Word, broken, holds, not_asked, not_needed
from servicelab.explain.load_balancer import announcers, is_layer2
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.wording import counted, listed, verb

_WORD = Word.ARP


def arp_layer(s: Snapshot, asked: Asked) -> Layer:
    """Does one node, the announcer, answer for each address?"""
    if s.type != "LoadBalancer":
        return not_needed(_WORD, f"the Service is of type {s.type}")
    if not s.load_balancer_ips:
        return not_asked(_WORD, "the Service has no address that could be asked for")
    if s.metallb.known and not any(is_layer2(s, ip) for ip in s.load_balancer_ips):
        return not_needed(_WORD, "the address is not announced by ARP")
    if asked.places and all(place.kind != "outside" for place in asked.places):
        if asked.outside_why_not:
            return not_asked(_WORD, asked.outside_why_not)
        return not_needed(_WORD, f"asked from {asked.from_where}, the address needs no ARP")
    if not asked.arp:
        return not_asked(_WORD, asked.outside_why_not or asked.why_not or "nobody asked by ARP")
    for each in asked.arp:
        if found := _unanswered(s, each) or _by_others(s, each):
            return found
    return holds(_WORD, "; ".join(_told(s, each) for each in asked.arp))


def _told(s: Snapshot, seen: ArpSeen) -> str:
    return f"{seen.ip} is at {listed(f'{mac} ({_whose(s, mac)})' for mac in seen.macs)}"


def _whose(s: Snapshot, mac: str) -> str:
    return s.macs.get(mac, "no node")


def _unanswered(s: Snapshot, seen: ArpSeen) -> Layer | None:
    if seen.macs:
        return None
    who = listed(announcers(s))
    by = f"; MetalLB says that {who} does" if who else ""
    return broken(
        _WORD,
        f"no answer for {seen.ip}",
        f"nobody in the cluster's network answers ARP for {seen.ip}, so that no host there knows "
        f"where to send its packets{by}",
        "kubectl -n metallb-system logs -l component=speaker --prefix",
    )


def _by_others(s: Snapshot, seen: ArpSeen) -> Layer | None:
    """Answers of somebody else than the one announcer."""
    who = announcers(s)
    answering = {_whose(s, mac) for mac in seen.macs}
    if not s.metallb.known or (len(seen.macs) == 1 and (not who or answering <= set(who))):
        return None
    should = f"only {listed(who)} should" if who else "only one should"
    return broken(
        _WORD,
        _told(s, seen),
        f"{counted(len(seen.macs), 'host')} {verb(seen.macs, 'answers', 'answer')} ARP for "
        f"{seen.ip} ({listed(answering)}), and {should}: another host has that address, or "
        "kube-proxy's strictARP is missing",
        "kubectl -n kube-system get configmap kube-proxy -o yaml",
    )
