"""What the API server says about a submission is told with its lines; what is left is found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes.client import ApiException

from servicelab.grading.intake import Document, Policy
from servicelab.grading.intake.abandoned import is_abandoned
from servicelab.grading.intake.application import findings_of
from servicelab.grading.intake.fence import quotas, role
from servicelab.grading.intake.policy import KINDS
from servicelab.grading.intake.submission import Lines
from servicelab.host import process_identity
from servicelab.lab.namespace import owner

PORTS = Lines(6, {0: Lines(7, {"port": Lines(7), "nodePort": Lines(8)})})
LINES = Lines(1, {"spec": Lines(5, {"ports": PORTS, "replicas": Lines(9)})})
SERVICE = Document({"kind": "Service", "metadata": {"name": "web"}}, "web.yaml", LINES)


def refusal(status: int, body: Any) -> ApiException:
    """An answer of the API server."""
    error = ApiException(status=status, reason="Whatever")
    error.body = body if isinstance(body, str) else json.dumps(body)
    return error


@pytest.mark.parametrize(
    ("body", "line", "path", "says"),
    [
        (
            {
                "message": "Service web is invalid: …",
                "details": {
                    "causes": [
                        {
                            "message": "Invalid value: 80: provided port is not in the valid range",
                            "field": "spec.ports[0].nodePort",
                        }
                    ]
                },
            },
            8,
            "spec.ports[0].nodePort",
            "Invalid value: 80: provided port is not in the valid range",
        ),
        (
            {"message": 'strict decoding error: unknown field "spec.ports[0].prot"'},
            7,
            "spec.ports[0].prot",
            "Kubernetes knows no such field (unknown field)",
        ),
        (
            {
                "message": "Deployment in version v1 cannot be handled as a Deployment: json: "
                "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of "
                "type int32"
            },
            9,
            "spec.replicas",
            "a string stands here, Kubernetes wants int32",
        ),
        ({"message": "exceeded quota: submission"}, 1, "", "exceeded quota: submission"),
        ("\x1b[2Jnot JSON", 1, "", "422 Whatever"),
        ("[]", 1, "", "422 Whatever"),
        ({"details": {"causes": [7]}, "message": "odd"}, 1, "", "odd"),
    ],
)
def test_an_answer_is_told_with_its_line(body: Any, line: int, path: str, says: str) -> None:
    """The field that the API server names is found in the file; odd answers are told as is."""
    [finding] = findings_of(refusal(422, body), SERVICE)

    assert (finding.file, finding.line, finding.path, finding.why) == ("web.yaml", line, path, says)


def test_the_account_has_no_right_but_making() -> None:
    """Each allowed kind can be made, in its own group, and nothing else can be done."""
    rules = role(Policy(kinds=KINDS))["rules"]

    assert {verb for rule in rules for verb in rule["verbs"]} == {"create"}
    assert {(rule["apiGroups"][0], rule["resources"][0]) for rule in rules} == {
        *{("", "pods"), ("", "services"), ("", "configmaps"), ("", "secrets"), ("", "endpoints")},
        *{("", "replicationcontrollers"), ("apps", "deployments"), ("apps", "replicasets")},
        *{("apps", "statefulsets"), ("apps", "daemonsets"), ("batch", "jobs")},
        *{("discovery.k8s.io", "endpointslices"), ("networking.k8s.io", "networkpolicies")},
    }


def test_the_quota_follows_the_policy() -> None:
    """What a policy allows fits into it, and Pods that keep others away never do."""
    usual, affinity = (each["spec"] for each in quotas(Policy(max_pods=5, max_services=3)))

    assert int(usual["hard"]["pods"]) >= 2 * 5
    assert int(usual["hard"]["services"]) >= 3
    assert usual["hard"]["persistentvolumeclaims"] == "0"
    assert affinity == {"hard": {"pods": "0"}, "scopes": ["CrossNamespacePodAffinity"]}


def test_a_namespace_is_abandoned_when_its_maker_is_gone() -> None:
    """Only a process of this machine that no longer runs; who can't be told is left alone."""
    mine = json.loads(owner())
    earlier = {**mine, "started": process_identity().started - 3600}

    assert not is_abandoned(json.dumps(mine))
    assert is_abandoned(json.dumps(earlier))
    assert is_abandoned(json.dumps({**mine, "boot_id": "another"}))
    assert not is_abandoned(json.dumps({**earlier, "host": "another machine"}))
    for text in ("", "[]", "{}", "7", '{"host": 1}', json.dumps({**mine, "more": 1})):
        assert not is_abandoned(text)
