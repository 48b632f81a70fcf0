"""Endpoints that are written by hand: a Service without a selector leads to them."""

from __future__ import annotations

from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.rules import addresses
from servicelab.grading.intake.rules.place import Place

_MOST = 20
"""Addresses of one object."""


def check_endpoints(place: Place, policy: Policy) -> None:
    """Hold an Endpoints object against the policy."""
    found = [
        address
        for subset in place.at("subsets").items()
        for key in ("addresses", "notReadyAddresses")
        for address in subset.at(key).items()
    ]
    _check(place, [each.at("ip") for each in found], policy)


def check_slice(place: Place, policy: Policy) -> None:
    """Hold an EndpointSlice against the policy."""
    found = [
        address
        for endpoint in place.at("endpoints").items()
        for address in endpoint.at("addresses").items()
    ]
    if place.at("addressType").text() == "FQDN":
        for name in found:
            addresses.check_external_name(name, policy)
        return
    _check(place, found, policy)


def _check(place: Place, found: list[Place], policy: Policy) -> None:
    if len(found) > _MOST:
        place.refuse(f"it has more than {_MOST} addresses")
        return
    for address in found:
        if not addresses.within(address, policy.endpoint_networks):
            address.refuse(
                "the Service would lead to an address that is not the exercise's",
                f"use one of {', '.join(policy.endpoint_networks)}",
            )
