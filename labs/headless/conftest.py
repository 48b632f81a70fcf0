"""What this lab's tests start from: Pods behind a headless Service, a client, the cluster DNS."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import pytest

from servicelab import eventually
from servicelab.lab import Lab, LabPod, Service, shared
from servicelab.vantage import DnsReply, PodVantage
from servicelab.verdict import Missing, deadlines


@dataclass
class Names:
    """The cluster DNS, asked from a Pod by full names."""

    client: PodVantage
    server: str

    def ask(self, name: str, rdtype: str = "A") -> DnsReply:
        """What it says now."""
        return self.client.dns(name, rdtype, server=self.server)

    def known(self, name: str, rdtype: str = "A") -> DnsReply:
        """Wait until a name has records: DNS hears of what is new a moment later."""
        return eventually(
            lambda: self.ask(name, rdtype),
            lambda reply: bool(reply.answer),
            deadline=deadlines.current().dns_answers,
            expecting=f"the cluster DNS to have {rdtype} records for {name}",
            asked_from=self.client.name,
            tell=lambda reply: reply.outcome,
        )

    def lists(self, name: str, pods: Collection[LabPod], *, whose: str) -> DnsReply:
        """Wait until a name's addresses are exactly those of these Pods.

        Args:
            name: the full name.
            pods: whose addresses.
            whose: these Pods in words, for the message.
        """
        wanted = {pod.ip: pod.name for pod in pods}

        def exactly(reply: DnsReply) -> bool | Missing:
            listed = set(reply.addresses)
            absent = [f"{wanted[ip]} ({ip}) is not listed" for ip in wanted.keys() - listed]
            extra = [f"{ip} is listed too" for ip in listed - wanted.keys()]
            return not absent + extra or Missing(", ".join(sorted(absent + extra)))

        return eventually(
            lambda: self.ask(name),
            exactly,
            deadline=deadlines.current().dns_answers,
            expecting=f"{name} to be the address of {whose}, and no other",
            asked_from=self.client.name,
            tell=lambda reply: reply.outcome,
        )


@dataclass
class Headless:
    """A headless Service as it stands in a namespace, with a client Pod beside it."""

    lab: Lab
    service: Service
    pods: list[LabPod]
    client: PodVantage
    names: Names

    @property
    def pod_names(self) -> set[str]:
        """Names of the Pods behind the Service, which they answer with."""
        return {pod.name for pod in self.pods}


def stand_up(lab: Lab, service: str, selector: str, count: int, *manifests: str) -> Headless:
    """Apply manifests, start a client meanwhile, and wait for the ready Pods of a Service."""
    lab.apply(*manifests)
    client = lab.start_client()
    pods = lab.ready_pods(selector, count)
    lab.running_pod(client.pod)
    server = lab.core.read_namespaced_service("kube-dns", "kube-system").spec.cluster_ip
    return Headless(lab, lab.service(service), pods, client, Names(client, str(server)))


def peers_of(lab: Lab, *manifests: str) -> Headless:
    """peers.yaml, and more."""
    return stand_up(lab, "peers", "app=peers,ready=soon", 3, "peers.yaml", *manifests)


@pytest.fixture(scope=shared)
def peers(shared_lab: Lab) -> Headless:
    """The headless Service, and an ordinary one in front of the same Pods; only looked at."""
    found = peers_of(shared_lab, "ordinary.yaml")
    for name in ("peers", "ordinary"):
        shared_lab.service(name).settles_on(found.pods)
    return found


@pytest.fixture(scope=shared)
def named(shared_lab: Lab) -> Headless:
    """peers.yaml, and beside it everything that has a name; only looked at."""
    return peers_of(shared_lab, "unready.yaml", "stateful.yaml", "named.yaml")


@pytest.fixture
def own_peers(lab: Lab) -> Headless:
    """For tests that change something: a namespace of the test's own."""
    return peers_of(lab)


@pytest.fixture
def stateful(lab: Lab) -> Headless:
    """A StatefulSet's two Pods, in a namespace of the test's own."""
    return stand_up(lab, "stateful", "app=stateful", 2, "stateful.yaml")


@pytest.fixture
def faces(lab: Lab) -> Headless:
    """A Pod behind five Services, in a namespace of the test's own."""
    # At once, not with the namespace: nobody else may have its external address meanwhile.
    lab.on_close(partial(lab.core.delete_namespaced_service, "face-externalip", lab.namespace))
    return stand_up(lab, "face-headless", "app=faces", 1, "faces.yaml")
