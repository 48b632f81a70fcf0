"""Names and addresses that lead out of the exercise, or back into the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.rules.place import Place

#: Every way of writing an IPv4 address that some resolver takes: 127.1, 0x7f000001, 2130706433.
_NUMERIC = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+))*", re.IGNORECASE)
#: Public names that answer with any address that is written into them.
_MIRRORS = ("nip.io", "sslip.io", "xip.io", "localtest.me", "lvh.me", "traefik.me")
#: What clouds call the machine's own secrets, and machines call themselves.
_MACHINE = ("internal", "localhost", "localdomain", "local", "instance-data", "metadata")
_SYSTEM = ("kube-system", "kube-public", "kube-node-lease", "default", "metallb-system")
_CLUSTER = "cluster.local"


def within(place: Place, networks: Iterable[str]) -> bool:
    """Does an address lie in one of some networks?"""
    try:
        address = ip_address(place.text())
    except ValueError:
        return False
    return any(address in ip_network(network) for network in networks)


def check_external_name(place: Place, policy: Policy) -> None:
    """See that a name does not lead to the API server, the grader or the machine."""
    name = place.text().lower().rstrip(".")
    if not name:
        return
    if why := _leads_wrong(name):
        place.refuse(why, "use a name that the exercise names")
    elif policy.external_names and not any(
        name == each or (each.startswith("*.") and name.endswith(each[1:]))
        for each in policy.external_names
    ):
        names = ", ".join(sorted(policy.external_names))
        place.refuse("this exercise does not lead to such a name", f"use {names}")


def _leads_wrong(name: str) -> str:
    labels = name.split(".")
    if _NUMERIC.fullmatch(name) or ":" in name:
        return "an address stands where a name must stand; DNS would look for a name of digits"
    if name == _CLUSTER or name.endswith(f".{_CLUSTER}"):
        namespace = labels[1] if len(labels) > 1 else ""
        if len(labels) != 5 or labels[2] != "svc":
            return "this is no Service of the cluster"
        if namespace in _SYSTEM or namespace.startswith(("kube-", "servicelab")):
            return f"the Service would lead into the namespace {namespace}, which is the cluster's"
        return ""
    if any(name == each or name.endswith(f".{each}") for each in _MIRRORS):
        return "such a name leads to whatever address is written into it"
    if labels[-1] in _MACHINE or labels[0] in ("metadata", "instance-data"):
        return "such a name leads to the machine that the cluster runs on"
    return ""
