"""Services: what they may take from others, and where they may lead."""

from __future__ import annotations

from ipaddress import ip_network

from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.rules import addresses
from servicelab.grading.intake.rules.place import Place

_SPEC = (
    *("type", "selector", "ports", "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"),
    *("sessionAffinity", "sessionAffinityConfig", "externalTrafficPolicy", "externalName"),
    *("internalTrafficPolicy", "publishNotReadyAddresses", "allocateLoadBalancerNodePorts"),
    *("loadBalancerSourceRanges", "loadBalancerIP", "loadBalancerClass", "externalIPs"),
    *("trafficDistribution",),
)
_REFUSED = {"healthCheckNodePort": "it takes a port of every node"}
_PORT = ("name", "port", "targetPort", "protocol", "nodePort", "appProtocol")
_MOST_RANGES = 16


def check(place: Place, policy: Policy) -> None:
    """Hold a Service against the policy."""
    spec = place.at("spec")
    if not spec.given:
        place.refuse("the Service has no spec")
        return
    spec.only(_SPEC, _REFUSED, "a Service")
    spec.at("selector").texts("a selector's values")
    kind = spec.at("type")
    if kind.given and (text := kind.text()) and text not in policy.service_types:
        kind.refuse(
            f"a Service of type {text} is not what this exercise takes",
            f"use {', '.join(sorted(policy.service_types))}",
        )
    _check_ports(spec, policy)
    _check_chosen(spec, policy)
    _check_ranges(spec)
    if (name := spec.at("externalName")).given:
        addresses.check_external_name(name, policy)


def _check_ports(spec: Place, policy: Policy) -> None:
    ports = spec.at("ports")
    entries = ports.items()
    if len(entries) > policy.max_ports:
        ports.refuse(f"the Service has more than {policy.max_ports} ports")
        return
    for entry in entries:
        entry.only(_PORT, {}, "a Service's port")
        entry.at("port").between(1, 65535, "a port")
        if not isinstance(entry.at("targetPort").value, str):
            entry.at("targetPort").between(1, 65535, "a port")
        node_port = entry.at("nodePort")
        if not node_port.given:
            continue
        if policy.node_ports is None:
            node_port.refuse("this exercise leaves the node port to Kubernetes", "leave it out")
        else:
            # The range is the API server's to enforce: its message is what is to be learnt.
            node_port.between(1, 65535, "a port")


def _check_chosen(spec: Place, policy: Policy) -> None:
    """What a Service takes by name or number, so that nobody else can have it."""
    if not policy.chosen_cluster_ip:
        for place in (spec.at("clusterIP"), *spec.at("clusterIPs").items()):
            if place.text() not in ("", "None"):
                place.refuse(
                    "the Service takes a cluster address, which may be another's", "leave it out"
                )
    chosen = spec.at("loadBalancerIP")
    if chosen.given and not policy.chosen_load_balancer_ip:
        chosen.refuse("the Service takes an address of the pool by name", "leave it out")
    by = spec.at("loadBalancerClass")
    if by.given and by.text() not in policy.load_balancer_classes:
        by.refuse("there is no such load balancer here", "leave loadBalancerClass out")
    for address in spec.at("externalIPs").items():
        if not addresses.within(address, policy.external_ips):
            address.refuse(
                "with externalIPs a Service catches traffic that is meant for others",
                "leave externalIPs out",
            )


def _check_ranges(spec: Place) -> None:
    ranges = spec.at("loadBalancerSourceRanges")
    entries = ranges.items()
    if len(entries) > _MOST_RANGES:
        ranges.refuse(f"there are more than {_MOST_RANGES} ranges")
        return
    for entry in entries:
        text = entry.text().strip()
        try:
            ip_network(text)
        except ValueError:
            entry.refuse("this is no network", "write one as 192.0.2.0/24")
