"""Address pools of a lab: cut from the cluster's slice, for one namespace only, gone with it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from servicelab.cluster.lease import part_lock
from servicelab.lab.manifests import Document
from servicelab.metallb import webhook
from servicelab.metallb.addresses import AddressRange, check_pool, free_block
from servicelab.metallb.manifest import NAMESPACE
from servicelab.metallb.network import ClusterNetwork

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.lab import Lab

_POOL = "IPAddressPool"


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool that MetalLB serves a lab's namespace from.

    Attributes:
        name: of the IPAddressPool.
        range: its addresses.
        objects: kind and name of all that was applied with it.
    """

    name: str
    range: AddressRange
    objects: tuple[tuple[str, str], ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, the lowest first."""
        return tuple(map(str, self.range))

    @property
    def first(self) -> str:
        """Its lowest address, which MetalLB gives out first."""
        return self.addresses[0]


@dataclass(frozen=True, slots=True)
class Pools:
    """Makes and removes pools.

    Attributes:
        cluster: where MetalLB is installed.
        network: what its nodes stand on.
        slice: the addresses that are the cluster's.
    """

    cluster: Cluster
    network: ClusterNetwork
    slice: AddressRange

    def apply(
        self, lab: Lab, documents: Iterable[Document], *, addresses: int | AddressRange
    ) -> Pool:
        """Apply a pool and what advertises it, for a lab's namespace only.

        Each object gets a name that no other lab has, and is deleted when the lab ends.

        Args:
            lab: whose Services get addresses from it, and whose fault may change it.
            documents: one IPAddressPool, and advertisements that name it.
            addresses: how many, from the cluster's slice; or which.

        Raises:
            UsageError: the addresses are outside the cluster's network, or MetalLB refuses them.
            InfrastructureError: the cluster's slice has not so many left.
            NotProved: MetalLB's webhook does not answer.
        """
        named = [_for_lab(document, lab.namespace) for document in documents]
        with self.alone():
            cut = self.free(addresses) if isinstance(addresses, int) else addresses
            for document in named:
                if document["kind"] == _POOL:
                    document["spec"]["addresses"] = [str(cut)]
            asked = list(lab.fault.documents(named))
            for document in asked:
                if document["kind"] == _POOL:
                    self.check(document)
            for document in asked:
                kind, name = document["kind"], document["metadata"]["name"]
                lab.on_close(partial(webhook.delete, self.cluster, kind, name))
                webhook.apply(self.cluster, document)
        lab.fault.after_apply(lab)
        return Pool(
            next(each["metadata"]["name"] for each in named if each["kind"] == _POOL),
            cut,
            tuple((each["kind"], each["metadata"]["name"]) for each in asked),
        )

    def delete(self, pool: Pool) -> None:
        """Delete a pool and what was applied with it; twice does no harm."""
        for kind, name in reversed(pool.objects):
            webhook.delete(self.cluster, kind, name)

    def check(self, pool: Document) -> None:
        """Whether the cluster's neighbours can reach a pool's addresses.

        Raises:
            UsageError: they can't, or an address is not written as one.
        """
        for text in pool["spec"].get("addresses", ()):
            check_pool(AddressRange.parse(text), self.network.subnet, self.slice)

    def taken(self) -> list[AddressRange]:
        """The ranges of all pools that there are now."""
        resource = self.cluster.dynamic.resources.get(
            api_version=f"{webhook.GROUP}/v1beta1", kind=_POOL
        )
        listed: list[Any] = resource.get(namespace=NAMESPACE).items
        return [
            AddressRange.parse(text)
            for each in listed
            for text in each.spec.addresses
            if ":" not in text
        ]

    def free(self, count: int) -> AddressRange:
        """So many addresses in a row of the cluster's that no pool has yet.

        Raises:
            InfrastructureError: there are not so many.
        """
        in_use = [AddressRange(each, each) for each in self.network.in_use]
        return free_block(self.slice, [*self.taken(), *in_use], count)

    def alone(self) -> FileLock:
        """Keep other workers of the run from taking addresses, while this is entered.

        What `free` gives stays free only so long; who is in may still `apply`.
        """
        return part_lock(self.cluster.name, "pools", is_singleton=True)


def _for_lab(document: Document, namespace: str) -> Document:
    """A copy under names of the lab's own; a pool serves the lab's namespace only."""
    own = copy.deepcopy(document)
    own["metadata"]["name"] = f"{own['metadata']['name']}-{namespace}"
    spec = own.setdefault("spec", {})
    if own["kind"] == _POOL:
        spec["serviceAllocation"] = {"namespaces": [namespace]}
    elif "ipAddressPools" in spec:
        spec["ipAddressPools"] = [f"{name}-{namespace}" for name in spec["ipAddressPools"]]
    return own
