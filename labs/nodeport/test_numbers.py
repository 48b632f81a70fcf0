"""The numbers: who picks them, which are allowed, and what happens to those that are not."""

from __future__ import annotations

import json
import subprocess

import pytest
from kubernetes.client.exceptions import ApiException

from servicelab import claim, eventually
from servicelab.verdict import deadlines

RANGE = range(30000, 32768)
BEYOND = (
    "Invalid value: 33333: provided port is not in the valid range. "
    "The range of valid ports is 30000-32767"
)
TAKEN = "Invalid value: 30001: provided port is already allocated"


def kubectl_refusal(lab, manifest: str) -> str:
    """What kubectl prints when the API server refuses a manifest."""
    try:
        printed = lab.kubectl("apply", "-f", str(lab.folder / manifest))
    except subprocess.CalledProcessError as error:
        return error.stderr.rstrip("\n")
    return pytest.fail(f"{manifest} was not refused: {printed.strip()}")


def api_refusal(lab, manifest: str) -> dict:
    """The API's status for the same, as a program gets it."""
    name = manifest.removesuffix(".yaml")
    body = lab.kubectl_json("create", "--dry-run=client", "-f", str(lab.folder / manifest))
    with pytest.raises(ApiException) as refused:
        lab.core.create_namespaced_service(lab.namespace, {**body, "metadata": {"name": name}})
    return json.loads(refused.value.body)


def assert_answers(outside, nodes, port: int, pod_names: set[str]) -> None:
    """Every node answers on the port, by one of these Pods."""
    for node in nodes:
        replies = outside.web(node.url(port), times=3)
        assert replies.ok, f"{node.name}:{port} does not answer: {replies}"
        assert set(replies.pods) <= pod_names, f"{node.name}:{port} was answered by a stranger"


@claim("NP-02")
def test_the_api_server_picks_a_number(web, expose, nodes, outside):
    """Without a number the API server picks one of 30000-32767, and `get svc` shows it."""
    picked = expose("picked.yaml", "picked")

    number = picked.node_port
    assert number is not None, "the API server picked no number"
    assert number in RANGE, f"the API server picked {number}"
    header, row = (
        line.split() for line in web.lab.kubectl("get", "service", "picked").splitlines()
    )
    seen = dict(zip(header, row, strict=True))
    assert seen["TYPE"] == "NodePort"
    assert seen["PORT(S)"] == f"8080:{number}/TCP"
    assert_answers(outside, nodes, number, web.pod_names)


@claim("NP-03")
def test_a_number_in_the_range_is_taken_as_given(web, expose, nodes, outside):
    """Whoever asks for 30000, the first of the range, gets it, and it serves on every node."""
    lowest = expose("lowest.yaml", "lowest")

    assert lowest.node_port == 30000, f"asked for 30000, got {lowest.node_port}"
    assert_answers(outside, nodes, 30000, web.pod_names)


@claim("NP-04")
def test_a_number_beyond_the_range_is_refused(lab, verdict):
    """33333 is refused, in kubectl's words and in the API's status."""
    printed = kubectl_refusal(lab, "beyond.yaml")
    status = api_refusal(lab, "beyond.yaml")

    (cause,) = status["details"]["causes"]
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert cause["field"] == "spec.ports[0].nodePort"
    assert cause["reason"] == "FieldValueInvalid"
    assert cause["message"] == BEYOND
    words = f'The Service "beyond" is invalid: spec.ports[0].nodePort: {BEYOND}'
    if printed == words:
        verdict.holds(f"{printed} (422, Invalid, FieldValueInvalid)")
    else:
        verdict.changed(f"refused, but in other words: {printed}")


@pytest.mark.disruptive
@claim("NP-05")
def test_the_range_can_be_widened(own_web, nodes, outside, verdict):
    """--service-node-port-range in the static manifest: the kubelet restarts the API server, and
    33333 is accepted and serves."""
    lab = own_web.lab
    before = kubectl_refusal(lab, "beyond.yaml")
    assert BEYOND in before, f"33333 is refused already, for another reason: {before}"

    with lab.api_server_flags(service_node_port_range="30000-40000") as restart:
        lab.apply("beyond.yaml")
        beyond = lab.service("beyond")
        beyond.settles_on(own_web.pods)

        assert beyond.node_port == 33333, f"asked for 33333, got {beyond.node_port}"
        assert_answers(outside, nodes, 33333, own_web.pod_names)

    # A Service that has such a number keeps it; nobody else gets one.
    assert_answers(outside, nodes, 33333, own_web.pod_names)
    after = api_refusal(lab.other(), "beyond.yaml")["details"]["causes"][0]["message"]
    assert after == BEYOND, f"the range is back, and yet: {after}"
    verdict.holds(f"33333 serves on every node; the API server was back after {restart}")


@claim("NP-06")
def test_a_number_is_given_once(lab, expose):
    """A number that a Service has is refused to another one, in whatever namespace it is."""
    expose("fixed.yaml", "web")

    printed = kubectl_refusal(lab, "fixed.yaml")

    assert printed == f'The Service "web" is invalid: spec.ports[0].nodePort: {TAKEN}'
    (cause,) = api_refusal(lab, "fixed.yaml")["details"]["causes"]
    assert (cause["field"], cause["message"]) == ("spec.ports[0].nodePort", TAKEN)


@claim("NP-11")
def test_changing_the_number_releases_the_old_one(web, lab, expose, nodes, outside):
    """After a change the new number answers, the old one refuses, and anybody may have it."""
    moving = expose("moving.yaml", "moving")
    assert_answers(outside, nodes, 30002, web.pod_names)

    expose("moved.yaml", "moving")

    assert moving.node_port == 30003
    for node in nodes:
        eventually(
            lambda node=node: outside.get(node.url(30002)),
            lambda reply: reply.error == "refused",
            deadline=deadlines.current().service_gone,
            expecting=f"{node.name} to refuse the old number 30002",
            asked_from=outside.name,
            tell=lambda reply: reply.outcome,
        )
    assert_answers(outside, nodes, 30003, web.pod_names)
    lab.apply("moving.yaml")
    assert lab.service("moving").node_port == 30002, "the old number was not given out again"
