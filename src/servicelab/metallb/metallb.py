"""An installed MetalLB, as a lab uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from servicelab.lab.manifests import parse_manifest, read_manifest
from servicelab.manifests import Rewriting, rewrite
from servicelab.metallb.addresses import AddressRange
from servicelab.metallb.installation import installed
from servicelab.metallb.network import cluster_network, cluster_slice
from servicelab.metallb.pools import Pool, Pools
from servicelab.pins import pins
from servicelab.registry import PrivateRegistry, ensure_registry

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.lab import Lab


class MetalLB:
    """MetalLB in a cluster, its images in a private registry beside it; `metallb_in` installs it.

    Args:
        cluster: where it is installed.
        registry: what its images are pulled from.
        rewriting: its native manifest, with the images' names there.
    """

    def __init__(self, cluster: Cluster, registry: PrivateRegistry, rewriting: Rewriting) -> None:
        self.cluster = cluster
        self.registry = registry
        self.rewriting = rewriting

    @cached_property
    def pools(self) -> Pools:
        """Makes and removes address pools."""
        network = cluster_network(self.cluster.engine)
        return Pools(self.cluster, network, cluster_slice(self.cluster.name, network))

    def pool(self, lab: Lab, file: str = "pool.yaml", *, addresses: int | AddressRange = 1) -> Pool:
        """Apply a manifest of a pool that stands beside the test, for the lab's namespace only.

        The manifest names the addresses of whoever types it; here they are cut from the cluster's
        network.

        Args:
            lab: whose Services get addresses; the pool goes with it.
            file: an IPAddressPool, and advertisements that name it.
            addresses: how many; or which.

        Raises:
            UsageError: the file can't be used, the addresses are outside the cluster's network,
                or MetalLB refuses them.
            InfrastructureError: the cluster has not so many addresses left.
            NotProved: MetalLB's webhook does not answer.
        """
        documents = read_manifest(lab.folder / file)
        return self.pools.apply(lab, documents, addresses=addresses)

    def pool_text(self, lab: Lab, text: str, *, addresses: int | AddressRange = 1) -> Pool:
        """As `pool`, with the objects given as YAML."""
        return self.pools.apply(lab, parse_manifest(text, "the text"), addresses=addresses)


@contextmanager
def metallb_in(cluster: Cluster) -> Iterator[MetalLB]:
    """A cluster with MetalLB, for as long as the context lasts.

    Its images are pushed to a private registry, and its native manifest is rewritten to that, as
    people do whose nodes reach no other.

    Raises:
        UsageError: the cluster has a MetalLB that servicelab did not install.
        NotProved: it did not become ready, or did not go.
        InfrastructureError: its images can't be had, or the registry does not serve.
    """
    made: list[MetalLB] = []
    registries: list[PrivateRegistry] = []

    def manifest() -> str:
        registry = ensure_registry(cluster)
        registries.append(registry)
        for image in pins().metallb_images:
            registry.push(image)
        text = cluster.extras.metallb_manifest().read_text(encoding="utf-8")
        rewriting = rewrite(text, registry.name, where="metallb-native.yaml")
        made.append(MetalLB(cluster, registry, rewriting))
        return rewriting.text

    def at_the_end() -> None:
        for registry in registries:
            registry.remove()

    with installed(cluster, manifest, at_the_end=at_the_end):
        yield made[0]
