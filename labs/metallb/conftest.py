"""What this lab's tests start from: MetalLB, a pool, and a Service with an address of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from servicelab import eventually
from servicelab.cluster import Cluster
from servicelab.lab import Lab, LabPod, Service, shared
from servicelab.metallb import MetalLB, Neighbours, Pool, metallb_in, vip
from servicelab.metallb.strict_arp import strict_arp
from servicelab.vantage import OutsideVantage
from servicelab.verdict import deadlines


@dataclass
class Exposed:
    """A Service with an external address, and the Pods behind it."""

    lab: Lab
    service: Service
    pods: list[LabPod]
    pool: Pool
    address: str

    @property
    def url(self) -> str:
        """The external address, with the Service's port."""
        return f"http://{self.address}:{self.service.port()}"

    @property
    def pod_names(self) -> set[str]:
        """Names of the Pods behind the Service, which they answer with."""
        return {pod.name for pod in self.pods}


@pytest.fixture(scope="session")
def metallb(cluster: Cluster) -> Iterator[MetalLB]:
    """MetalLB, installed for this proxy mode's tests and removed after them.

    In IPVS mode with strictARP, as its documentation asks for.
    """
    with strict_arp(cluster), metallb_in(cluster) as metallb:
        yield metallb


@pytest.fixture(scope="session")
def neighbours(cluster: Cluster, outside: OutsideVantage) -> Neighbours:
    """The nodes by their MAC addresses, as the host outside sees them."""
    return Neighbours(cluster, outside)


@pytest.fixture(scope="session")
def answers(outside: OutsideVantage) -> Callable[[str], None]:
    """Waits until a URL answers outside: an address is given before it is announced."""

    def wait(url: str) -> None:
        # The Service that had this address before is answered for by nobody any more, but packets
        # would still reach the node that did, whose rules take them.
        outside.forget_neighbours()
        eventually(
            lambda: outside.get(url, timeout=1.0),
            lambda reply: reply.status == 200,
            deadline=deadlines.current().service_reachable,
            expecting=f"{url} to answer",
            asked_from=outside.name,
            tell=lambda reply: reply.outcome,
        )

    return wait


@pytest.fixture(scope="session")
def expose(metallb: MetalLB, answers: Callable[[str], None]) -> Callable[..., Exposed]:
    """Applies a pool of one address and a Service with two Pods, and waits until it answers."""

    def stand_up(lab: Lab, manifest: str, name: str) -> Exposed:
        pool = metallb.pool(lab)
        lab.apply(manifest)
        pods = lab.ready_pods(f"app={name}", 2)
        service = lab.service(name)
        service.settles_on(pods)
        exposed = Exposed(lab, service, pods, pool, vip.wait_for_address(service))
        answers(exposed.url)
        return exposed

    return stand_up


@pytest.fixture(scope=shared)
def web(shared_lab: Lab, expose: Callable[..., Exposed]) -> Exposed:
    """For tests that only look: a Service that answers at its external address."""
    return expose(shared_lab, "web.yaml", "web")
