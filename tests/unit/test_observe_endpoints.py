"""EndpointSlices as endpoints."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3

from servicelab.errors import InfrastructureError
from servicelab.observe.endpoints import (
    Endpoint,
    endpoints,
    endpoints_of,
    of_port,
    on_node,
    ready,
    serving,
    terminating,
)


def slice_of(*endpoints: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> Any:
    """An EndpointSlice with these endpoints, port 80 unless told otherwise."""
    ports = [{"name": "", "port": 80, "protocol": "TCP"}] if ports is None else ports
    return {"addressType": "IPv4", "endpoints": list(endpoints), "ports": ports}


def endpoint(ip: str, pod: str = "", **conditions: bool) -> dict[str, Any]:
    """One entry of an EndpointSlice."""
    entry: dict[str, Any] = {"addresses": [ip], "conditions": conditions, "nodeName": "worker"}
    if pod:
        entry["targetRef"] = {"kind": "Pod", "name": pod}
    return entry


def test_an_endpoint_names_its_pod_node_and_port() -> None:
    """Address, port, Pod and node are taken from where the EndpointSlice has them."""
    (found,) = endpoints_of([slice_of(endpoint("10.244.1.2", "web-1", ready=True))])

    assert found == Endpoint("10.244.1.2", 80, pod="web-1", node="worker")
    assert str(found) == "10.244.1.2:80 web-1"


def test_every_address_has_every_port() -> None:
    """Two addresses and two ports are four endpoints, in order of port and address."""
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]

    found = endpoints_of([slice_of(endpoint("10.0.0.2"), endpoint("10.0.0.1"), ports=ports)])

    assert [(each.port_name, each.protocol, each.address) for each in found] == [
        ("dns", "UDP", "10.0.0.1:53"),
        ("dns", "UDP", "10.0.0.2:53"),
        ("http", "TCP", "10.0.0.1:80"),
        ("http", "TCP", "10.0.0.2:80"),
    ]


def test_several_slices_are_one_service() -> None:
    """What several slices list is put together, each endpoint once."""
    found = endpoints_of([slice_of(endpoint("10.0.0.1")), slice_of(endpoint("10.0.0.1"))])

    assert [each.ip for each in found] == ["10.0.0.1"]


def test_a_condition_that_is_not_given_counts_as_ready() -> None:
    """kube-proxy sends traffic to an endpoint whose readiness is unknown, so it counts as ready."""
    (found,) = endpoints_of([slice_of(endpoint("10.0.0.1"))])

    assert found.ready
    assert found.serving
    assert not found.terminating


def test_an_unready_terminating_endpoint_says_so() -> None:
    """A Pod that is being deleted may still serve, but takes no new traffic."""
    (found,) = endpoints_of(
        [slice_of(endpoint("10.0.0.1", "web-1", ready=False, serving=True, terminating=True))]
    )

    assert not found.ready
    assert found.serving
    assert str(found) == "10.0.0.1:80 web-1 (not ready, terminating)"


def test_a_slice_without_endpoints_or_ports_lists_nothing() -> None:
    """`endpoints: null`, as the API gives it for an empty slice, is no endpoint."""
    assert endpoints_of([{"endpoints": None, "ports": None}]) == ()


def test_endpoints_are_picked_by_state_node_and_port() -> None:
    """Each picks what it is named after, in the order given."""
    one = Endpoint("10.0.0.1", 80, "http", node="worker")
    going = Endpoint("10.0.0.2", 80, "http", ready=False, terminating=True, node="worker2")
    dead = Endpoint("10.0.0.3", 53, "dns", ready=False, serving=False, node="worker2")
    found = (one, going, dead)

    assert ready(found) == (one,)
    assert serving(found) == (one, going)
    assert terminating(found) == (going,)
    assert on_node(found, "worker2") == (going, dead)
    assert of_port(found, "http") == (one, going)


def test_the_api_is_asked_for_the_services_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespace and label go into the request; what comes back is read."""
    asked: list[tuple[str, str]] = []

    def answer(_: Any, namespace: str, *, label_selector: str, _preload_content: bool) -> Any:
        asked.append((namespace, label_selector))
        return SimpleNamespace(data=json.dumps({"items": [slice_of(endpoint("10.0.0.1"))]}))

    monkeypatch.setattr("kubernetes.client.DiscoveryV1Api.list_namespaced_endpoint_slice", answer)

    assert endpoints(None, "lab", "web") == (Endpoint("10.0.0.1", 80, node="worker"),)  # type: ignore[arg-type]
    assert asked == [("lab", "kubernetes.io/service-name=web")]


def test_an_api_that_does_not_answer_says_nothing_about_endpoints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That is the infrastructure's failure, not "no endpoints"."""

    def fail(*_: Any, **__: Any) -> Any:
        raise urllib3.exceptions.HTTPError("refused")

    monkeypatch.setattr("kubernetes.client.DiscoveryV1Api.list_namespaced_endpoint_slice", fail)

    with pytest.raises(InfrastructureError, match="lab/web"):
        endpoints(None, "lab", "web")  # type: ignore[arg-type]
