"""A Service is what its object and its EndpointSlices say."""

from __future__ import annotations

from types import SimpleNamespace as Object
from typing import Any, cast

import pytest

from servicelab.lab import Lab, Service
from servicelab.lab.service import ready_endpoints


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
        ports = [Object(name="http", port=8080), Object(name="admin", port=8081)]
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
