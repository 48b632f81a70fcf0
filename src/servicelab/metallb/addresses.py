"""Addresses for load balancers: cut from the cluster network's IPv4 subnet, high up.

Every kind cluster of a machine stands on one Docker network, and Docker gives its containers the
lowest addresses that are free. So a cluster's virtual addresses come from a slice in the upper half
of the subnet that no other cluster has, and never are the network's or the broadcast address.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from servicelab.errors import InfrastructureError, UsageError

SLICE = 24
"""Addresses of one cluster. A lab takes less than ten at a time, and two workers share them."""


@dataclass(frozen=True, slots=True, order=True)
class AddressRange:
    """IPv4 addresses from the first to the last, both included.

    Raises:
        UsageError: the last comes before the first.
    """

    first: IPv4Address
    last: IPv4Address

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise UsageError(
                f"the address range {self} ends before it begins", remedy="write LOWEST-HIGHEST"
            )

    @classmethod
    def parse(cls, text: str) -> AddressRange:
        """A range as MetalLB's pools have it: `172.18.255.200-172.18.255.250` or a CIDR.

        Raises:
            UsageError: it is neither.
        """
        try:
            if "/" in text:
                network = IPv4Network(text.strip())
                return cls(network.network_address, network.broadcast_address)
            first, dash, last = text.partition("-")
            return cls(IPv4Address(first.strip()), IPv4Address((last if dash else first).strip()))
        except ValueError:
            raise UsageError(
                f"{text!r} is not a range of IPv4 addresses",
                remedy="write FIRST-LAST or a CIDR such as 172.18.255.200/29",
            ) from None

    def __str__(self) -> str:
        """As MetalLB's pools have it."""
        return f"{self.first}-{self.last}"

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __iter__(self) -> Iterator[IPv4Address]:
        return (IPv4Address(number) for number in range(int(self.first), int(self.last) + 1))

    def __contains__(self, address: object) -> bool:
        return isinstance(address, IPv4Address) and self.first <= address <= self.last

    def overlaps(self, other: AddressRange) -> bool:
        """Whether an address is in both."""
        return self.first <= other.last and other.first <= self.last


def slices(subnet: IPv4Network, size: int = SLICE) -> list[AddressRange]:
    """The slices of a subnet's upper half, the highest first.

    Args:
        subnet: the cluster network's.
        size: addresses in each.
    """
    highest = int(subnet.broadcast_address) - 1
    middle = int(subnet.network_address) + subnet.num_addresses // 2
    found = []
    while highest - size + 1 >= middle:
        found.append(AddressRange(IPv4Address(highest - size + 1), IPv4Address(highest)))
        highest -= size
    return found


def choose_slice(
    subnet: IPv4Network,
    *,
    others: Collection[AddressRange],
    in_use: Iterable[IPv4Address] = (),
    size: int = SLICE,
) -> AddressRange:
    """The highest slice that no other cluster has and that no container stands in.

    Args:
        subnet: the cluster network's.
        others: the slices of other clusters.
        in_use: addresses of containers on the network.
        size: addresses in a slice.

    Raises:
        InfrastructureError: there is none left.
    """
    used = list(in_use)
    for candidate in slices(subnet, size):
        if any(candidate.overlaps(other) for other in others):
            continue
        if not any(address in candidate for address in used):
            return candidate
    raise InfrastructureError(
        f"the cluster network {subnet} has no {size} addresses left for load balancers: the upper "
        f"half of it belongs to {len(others)} other clusters, or containers stand there",
        remedy="delete a cluster that is not needed any more with: servicelab down",
    )


def free_block(within: AddressRange, taken: Collection[AddressRange], count: int) -> AddressRange:
    """The lowest run of consecutive addresses that no pool has.

    Args:
        within: the cluster's slice.
        taken: ranges of the pools that there are.
        count: how many addresses.

    Raises:
        InfrastructureError: there is none.
    """
    run = 0
    for address in within:
        run = 0 if any(address in each for each in taken) else run + 1
        if run == count:
            return AddressRange(IPv4Address(int(address) - count + 1), address)
    raise InfrastructureError(
        f"the cluster's addresses for load balancers, {within}, have no {count} in a row left: "
        f"pools take {', '.join(map(str, sorted(taken))) or 'none'}",
        remedy="delete a pool that is not needed any more, or run fewer tests at once",
    )


def check_pool(pool: AddressRange, subnet: IPv4Network, advised: AddressRange) -> None:
    """Whether hosts on a network can reach a pool's addresses by ARP.

    Args:
        pool: the pool's range.
        subnet: the cluster network's.
        advised: a range that would do.

    Raises:
        UsageError: the range is not within the subnet, or takes its first or last address.
    """
    if pool.first not in subnet or pool.last not in subnet:
        raise UsageError(
            f"the pool {pool} lies outside the cluster's network {subnet}, so nobody there would "
            "ask for its addresses by ARP",
            remedy=f"choose addresses from {advised}",
        )
    for address, what in (
        (subnet.network_address, "the network's own"),
        (subnet.broadcast_address, "its broadcast"),
    ):
        if address in pool:
            raise UsageError(
                f"the pool {pool} has {address}, which is {what} address of {subnet}",
                remedy=f"choose addresses from {advised}",
            )
