"""The kinds of fault that refuters are made of do what they say, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace as Object
from typing import Any, cast

import pytest

from servicelab.lab import Fault, Lab
from servicelab.lab.faults import (
    frozen,
    in_clients,
    in_container,
    in_services,
    on_nodes,
    once,
    patches,
    together,
)
from servicelab.vantage.pods import client_pod_manifest


class FakeLab:
    """Takes down what is done to it."""

    def __init__(self, namespace: str = "lab-1") -> None:
        self.namespace = namespace
        self.done: list[Any] = []
        self.closing: list[Any] = []
        self.core = Object(patch_namespaced_service=self.note("patch"))
        self.cluster = Object(docker_exec=self.note("exec"))
        self.on_close = self.closing.append

    def note(self, what: str) -> Any:
        return lambda *args: self.done.append((what, *args))

    def ready_pods(self, selector: str, count: int) -> list[str]:
        self.done.append(("ready", selector, count))
        return ["a Pod"]

    def service(self, name: str) -> Any:
        return Object(follows=self.note(f"{name} follows"))


def as_lab(fake: FakeLab) -> Lab:
    """The fake, for the type checker."""
    return cast(Lab, fake)


def web_service() -> dict[str, Any]:
    """A Service as a manifest has it."""
    return {"kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}}}


def web_pod() -> dict[str, Any]:
    """A Pod with two containers."""
    containers = [{"name": "web", "args": ["a"]}, {"name": "side", "args": ["b"]}]
    return {"kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": containers}}


def test_a_fault_in_services_leaves_pods_alone() -> None:
    """Fields are set in each Service, beside those that are there."""
    service, pod = in_services(clusterIP="None").documents([web_service(), web_pod()])

    assert service["spec"] == {"selector": {"app": "web"}, "clusterIP": "None"}
    assert pod == web_pod()


def test_a_fault_in_clients_leaves_other_pods_alone() -> None:
    """Client Pods are known by their label; a Pod without labels is none."""
    client = client_pod_manifest("client", "lab-1")

    faulty, pod = in_clients(hostNetwork=True).documents([client, web_pod()])

    assert faulty["spec"]["hostNetwork"] is True
    assert pod == web_pod()


def test_a_fault_in_a_container_leaves_the_others_alone() -> None:
    """The container is chosen by its name."""
    (pod,) = in_container("web", args=["x"]).documents([web_pod()])

    assert [container["args"] for container in pod["spec"]["containers"]] == [["x"], ["b"]]


def test_once_is_once_in_each_namespace() -> None:
    """Whatever is applied later, it is not done again; another namespace has its own turn."""
    acted: list[str] = []
    fault = once(lambda lab: acted.append(lab.namespace))

    for namespace in ("lab-1", "lab-1", "other-1", "lab-1"):
        fault.after_apply(as_lab(FakeLab(namespace)))

    assert acted == ["lab-1", "other-1"]


def test_faults_together_come_in_their_order() -> None:
    """Each changes what the one before it left, and acts after it."""
    acted: list[str] = []
    first = Fault(after_apply=lambda lab: acted.append("first"), instead={"scale": print})
    then = Fault(after_apply=lambda lab: acted.append("then"), instead={"label": print})
    both = together(in_services(selector={}), in_services(type="NodePort"), first, then)

    (service,) = both.documents([web_service()])
    both.after_apply(as_lab(FakeLab()))

    assert service["spec"] == {"selector": {}, "type": "NodePort"}
    assert acted == ["first", "then"]
    assert set(both.instead) == {"scale", "label"}


def test_two_faults_cannot_stand_instead_of_one_verb() -> None:
    """One of them would be lost."""
    fault = Fault(instead={"scale": print})

    with pytest.raises(ValueError, match="two faults stand instead of scale"):
        together(fault, fault)


def test_endpoints_are_frozen_when_they_list_the_first_pods() -> None:
    """The selector goes only when the endpoints are there, so that they stay as they are."""
    lab = FakeLab()

    frozen("web", "app=web", 3).after_apply(as_lab(lab))

    assert lab.done == [
        ("ready", "app=web", 3),
        ("web follows", ["a Pod"]),
        ("patch", "web", "lab-1", {"spec": {"selector": None}}),
    ]


def test_a_route_on_nodes_goes_when_the_lab_ends() -> None:
    """Each node gets it, and loses exactly that again."""
    lab = FakeLab()

    on_nodes(as_lab(lab), ["n1", "n2"], "route", "blackhole", "10.96.0.7/32")
    added, lab.done = lab.done, []
    for undo in lab.closing:
        undo()

    assert added == [
        ("exec", "n1", "ip", "route", "prepend", "blackhole", "10.96.0.7/32"),
        ("exec", "n2", "ip", "route", "prepend", "blackhole", "10.96.0.7/32"),
    ]
    assert lab.done == [
        ("exec", "n1", "ip", "route", "del", "blackhole", "10.96.0.7/32"),
        ("exec", "n2", "ip", "route", "del", "blackhole", "10.96.0.7/32"),
    ]


def test_a_patch_is_made_with_what_the_fault_leaves_of_it() -> None:
    """The test's fields come to the fault, and what it makes of them goes to the API."""
    lab = FakeLab()
    fault = patches(lambda lab, service, spec: spec.update(sessionAffinity="None"))

    fault.instead["patch_service"](lab, "web", sessionAffinity="ClientIP", type="NodePort")

    spec = {"sessionAffinity": "None", "type": "NodePort"}
    assert lab.done == [("patch", "web", "lab-1", {"spec": spec})]
