"""What this lab's tests start from: a client Pod, the cluster DNS, and a name for a public site."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from servicelab import eventually
from servicelab.lab import Lab, LabPod, Service, shared
from servicelab.vantage import DnsReply, PodVantage
from servicelab.verdict import deadlines
from servicelab.world import World


@dataclass
class Inside:
    """A namespace with a client Pod, which asks the cluster DNS."""

    lab: Lab
    client: PodVantage

    @property
    def dns(self) -> str:
        """The address of the kube-dns Service."""
        return str(self.lab.core.read_namespaced_service("kube-dns", "kube-system").spec.cluster_ip)

    def answer(self, service: Service) -> DnsReply:
        """Ask until a Service's name has addresses: DNS hears of a new Service a moment later."""
        server = self.dns
        return eventually(
            lambda: self.client.dns(service.dns_name, server=server),
            lambda reply: bool(reply.addresses),
            deadline=deadlines.current().dns_answers,
            expecting=f"{service} to have a name that leads to addresses",
            asked_from=self.client.name,
            tell=lambda reply: reply.outcome,
        )


@dataclass
class Neighbours:
    """ns1.yaml and ns2.yaml in two namespaces, each with a client Pod."""

    one: Inside
    two: Inside

    def web(self, inside: Inside) -> LabPod:
        """The web Pod of one of them."""
        (pod,) = inside.lab.ready_pods("app=web", 1)
        return pod


@pytest.fixture(scope=shared)
def site(shared_lab: Lab, world: World) -> Inside:
    """site.yaml, for tests that only look."""
    shared_lab.apply("site.yaml")
    inside = Inside(shared_lab, shared_lab.client())
    inside.answer(shared_lab.service("site"))
    return inside


@pytest.fixture
def inside(lab: Lab, world: World) -> Inside:
    """A namespace of the test's own, with a client Pod."""
    return Inside(lab, lab.client())


@pytest.fixture
def neighbours(lab: Lab) -> Neighbours:
    """Two namespaces that name each other's Service."""
    labs = {"ns1": lab, "ns2": lab.other()}
    for name, each in labs.items():
        # The files name each other's namespace as the reader calls it.
        text = (lab.folder / f"{name}.yaml").read_text()
        for called, real in labs.items():
            text = text.replace(f".{called}.svc.", f".{real.namespace}.svc.")
        each.apply_text(text)
    clients = [each.start_client() for each in labs.values()]
    found = Neighbours(*(Inside(*pair) for pair in zip(labs.values(), clients, strict=True)))
    for name, each in (("svc1", found.one), ("svc2", found.two)):
        each.lab.service(name).settles_on([found.web(each)])
        each.lab.running_pod(each.client.pod)
    return found
