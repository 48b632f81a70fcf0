"""Pods in a lab's words."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace as Object
from typing import Any

from servicelab.lab.pods import LabPod, is_ready, lab_pod, pods_in_words


def pod(**changes: Any) -> Any:
    """A Pod as the official client gives it: running and Ready unless changed."""
    values: dict[str, Any] = {
        "name": "web-1",
        "phase": "Running",
        "ready": "True",
        "deleted": None,
        "conditions": [],
        "containers": None,
        "ip": "10.244.1.5",
        "node": "kind-worker",
        "labels": {"app": "web"},
        "ports": [],
    } | changes
    ready = Object(type="Ready", status=values["ready"], message=None)
    return Object(
        metadata=Object(
            name=values["name"], deletion_timestamp=values["deleted"], labels=values["labels"]
        ),
        spec=Object(node_name=values["node"], containers=[Object(ports=values["ports"])]),
        status=Object(
            phase=values["phase"],
            pod_ip=values["ip"],
            conditions=[ready, *values["conditions"]],
            container_statuses=values["containers"],
        ),
    )


def waiting(reason: str) -> list[Any]:
    """The status of a container that waits."""
    state = Object(waiting=Object(reason=reason))
    return [Object(name="web", image="nginx:1.9999", state=state)]


GOING = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_pod_has_its_name_address_node_and_labels() -> None:
    """What a test asks of a Pod is read from the object."""
    assert lab_pod(pod()) == LabPod("web-1", "10.244.1.5", "kind-worker", True, {"app": "web"})


def test_a_pod_that_has_nothing_yet() -> None:
    """Before it is scheduled, a Pod has neither address nor node, and labels may be left out."""
    new = pod(ip=None, node=None, labels=None, ready="False")

    assert lab_pod(new) == LabPod("web-1", "", "", False, {})


def test_its_ports_are_the_tcp_ports_that_containers_declare() -> None:
    """No protocol means TCP; UDP ports are nobody's to connect to."""
    ports = [
        Object(container_port=80, protocol=None),
        Object(container_port=81, protocol="TCP"),
        Object(container_port=53, protocol="UDP"),
    ]

    assert lab_pod(pod(ports=ports)).ports == (80, 81)
    assert lab_pod(pod(ports=None)).ports == ()


def test_a_pod_that_is_being_deleted_is_not_ready() -> None:
    """Its condition still says Ready, but it takes no more traffic."""
    assert is_ready(pod())
    assert not is_ready(pod(deleted=GOING))


def test_each_pod_is_told_with_its_phase() -> None:
    """Pods come by name; one that runs but is not Ready says so."""
    pods = {"web-2": pod(name="web-2", ready="False"), "web-1": pod()}

    assert pods_in_words(pods) == "web-1 Running; web-2 Running not Ready"


def test_no_pod_is_told_as_such() -> None:
    """An empty listing is not an empty text."""
    assert pods_in_words({}) == "no Pod"


def test_a_container_that_waits_says_why_and_for_which_image() -> None:
    """The reason stands there with the image; that it is being made is no reason."""
    stuck = pod(phase="Pending", containers=waiting("ImagePullBackOff"))
    soon = pod(phase="Pending", containers=waiting("ContainerCreating"))

    assert pods_in_words({"web-1": stuck}) == "web-1 Pending web: ImagePullBackOff nginx:1.9999"
    assert pods_in_words({"web-1": soon}) == "web-1 Pending"


def test_a_pod_that_no_node_takes_says_why() -> None:
    """The scheduler's message stands there."""
    unscheduled = Object(type="PodScheduled", status="False", message="0/3 nodes are available")

    told = pods_in_words({"web-1": pod(phase="Pending", conditions=[unscheduled])})

    assert told == "web-1 Pending 0/3 nodes are available"
