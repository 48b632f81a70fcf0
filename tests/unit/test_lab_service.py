"""A Service is what its object and its EndpointSlices say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace as Object
from typing import Any, cast

import pytest

from servicelab.lab import Lab, Service
from servicelab.lab.service import ready_endpoints
from servicelab.observe.model import Backend, Kind, ServiceRule
from servicelab.verdict import NotProved, deadlines


def endpoint(*addresses: str, ready: bool | None = True) -> Any:
    """An endpoint of a slice."""
    return Object(addresses=list(addresses), conditions=Object(ready=ready))


def slice_of(*endpoints: Any, ports: tuple[int, ...] = (80,)) -> Any:
    """An EndpointSlice."""
    return Object(endpoints=list(endpoints), ports=[Object(port=port) for port in ports])


def test_ready_endpoints_are_address_and_port() -> None:
    """Those that are not ready are left out; where nothing is said, an endpoint is ready."""
    slices = {
        "web-1": slice_of(endpoint("10.0.0.1"), endpoint("10.0.0.2", ready=False)),
        "web-2": slice_of(endpoint("10.0.0.3", ready=None)),
    }

    assert ready_endpoints(slices) == {"10.0.0.1:80", "10.0.0.3:80"}


def test_each_address_has_each_port() -> None:
    """A slice's ports are those of all its endpoints."""
    slices = {"web-1": slice_of(endpoint("10.0.0.1"), ports=(80, 81))}

    assert ready_endpoints(slices) == {"10.0.0.1:80", "10.0.0.1:81"}


@pytest.mark.parametrize("empty", [Object(endpoints=None, ports=None), slice_of()])
def test_a_slice_without_endpoints(empty: Any) -> None:
    """The API gives nothing at all, or an empty list."""
    assert ready_endpoints({"web-1": empty}) == set()


class FakeCore:
    """Knows one Service."""

    def __init__(self, cluster_ip: str) -> None:
        ports = [
            Object(name="http", port=8080, node_port=None, protocol="TCP"),
            Object(name="admin", port=8081, node_port=None, protocol="TCP"),
        ]
        self.spec = Object(cluster_ip=cluster_ip, ports=ports)

    def read_namespaced_service(self, name: str, namespace: str) -> Any:
        assert (name, namespace) == ("web", "lab-1")
        return Object(spec=self.spec)


def service(cluster_ip: str = "10.96.0.7", **lab: Any) -> Service:
    """The Service `web` of a lab."""
    fake = Object(namespace="lab-1", core=FakeCore(cluster_ip), **lab)
    return Service(cast(Lab, fake), "web")


def test_what_a_service_says_of_itself() -> None:
    """Address, ports, URL and name are read from the object."""
    web = service()

    assert str(web) == "Service lab-1/web"
    assert web.cluster_ip == "10.96.0.7"
    assert (web.port(), web.port("admin")) == (8080, 8081)
    assert web.url == "http://10.96.0.7:8080"
    assert web.dns_name == "web.lab-1.svc.cluster.local"


POD = Backend("10.0.0.1", 80, 1.0)


def rule(ip: str, port: int, *backends: Backend, protocol: str = "TCP") -> ServiceRule:
    """A rule under the Service's name; with the address "" a node port's."""
    kind: Kind = "cluster" if ip else "node"
    return ServiceRule("lab-1", "web", "http", protocol, ip, port, kind, backends)


OURS = (rule("10.96.0.7", 8080, POD), rule("10.96.0.7", 8081, POD), rule("", 30001, POD))


@pytest.mark.parametrize(
    ("rules", "endpoints", "there"),
    [
        (OURS, {"10.0.0.1:80"}, True),
        (OURS[:2], {"10.0.0.1:80"}, False),
        ((*OURS[:2], rule("", 30001)), {"10.0.0.1:80"}, True),
        ((*OURS, rule("10.96.0.66", 8080, Backend("10.0.0.9", 80, 1.0))), {"10.0.0.1:80"}, True),
        (tuple(replace(each, ip="10.96.0.66") for each in OURS), {"10.0.0.1:80"}, False),
        (tuple(replace(each, backends=()) for each in OURS), {"10.0.0.1:80"}, False),
        (OURS, {"10.0.0.1:80", "10.0.0.2:80"}, False),
        ((), set(), True),
        (OURS, set(), False),
    ],
    ids=[
        "all", "no-node-port", "node-port-without-local-pod", "beside-an-older-ones",
        "an-older-ones", "nowhere", "one-is-missing", "none-wanted", "still-there",
    ],
)  # fmt: skip
def test_its_own_addresses_must_lead_to_its_endpoints(
    rules: tuple[ServiceRule, ...], endpoints: set[str], there: bool
) -> None:
    """All of them, on each node; rules of an earlier Service of that name are none of its own."""
    by_node = {"worker": rules if there else OURS, "worker2": rules}
    web = service(rules=lambda name: by_node, cluster=Object(mode="iptables"))
    web.lab.core.spec.ports[0].node_port = 30001
    before = deadlines.use(deadlines.current().changed({"rules_programmed": 0.01}))
    try:
        if there:
            web.programmed(endpoints)
        else:
            with pytest.raises(NotProved, match="the rules for Service lab-1/web on every node"):
                web.programmed(endpoints)
    finally:
        deadlines.use(before)


def test_one_number_over_two_protocols() -> None:
    """They are two addresses, each with backends of its own."""
    talk = rule("10.96.0.7", 8080, Backend("10.0.0.1", 5300, 1.0), protocol="UDP")
    web = service(rules=lambda name: {"worker": (*OURS[:2], talk)}, cluster=Object(mode="nftables"))
    web.lab.core.spec.ports.append(Object(name="talk", port=8080, node_port=None, protocol="UDP"))

    web.programmed({"10.0.0.1:80", "10.0.0.1:5300"})


def test_the_message_says_which_address_leads_where() -> None:
    """If they do not all lead to the same."""
    rules = (*OURS[:2], rule("", 30001))
    web = service(rules=lambda name: {"worker": rules}, cluster=Object(mode="iptables"))
    web.lab.core.spec.ports[0].node_port = 30001
    before = deadlines.use(deadlines.current().changed({"rules_programmed": 0.01}))
    try:
        with pytest.raises(
            NotProved, match=r"worker: node:30001/TCP to none, 10\.96\.0\.7:8080/TCP to"
        ):
            web.programmed({"10.0.0.2:80"})
    finally:
        deadlines.use(before)


def settled(monkeypatch: pytest.MonkeyPatch, cluster_ip: str) -> list[Any]:
    """Which rules a Service waits for when it settles."""
    waited: list[Any] = []
    monkeypatch.setattr(Service, "follows", lambda self, pods, port: {f"10.0.0.1:{port}"})
    monkeypatch.setattr(Service, "programmed", lambda self, endpoints: waited.append(endpoints))
    service(cluster_ip).settles_on([])
    return waited


def test_a_service_settles_when_the_rules_lead_to_its_endpoints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rules that are waited for are those to the endpoints that were found."""
    assert settled(monkeypatch, "10.96.0.7") == [{"10.0.0.1:80"}]


def test_a_headless_service_has_no_rules_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address there is nothing that kube-proxy could program."""
    assert settled(monkeypatch, "None") == []
