"""The data of a Secret is kept nowhere: not in the object, not in what else repeats it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from servicelab.report.evidence.redaction import REDACTED, Redaction

PASSWORD = "correct horse battery"
ENCODED = base64.b64encode(PASSWORD.encode()).decode()


def secret(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, **fields}


def test_a_secret_keeps_its_keys_alone() -> None:
    """One sees that there is a password, and how long it is."""
    kept = Redaction().of_object(secret(data={"password": ENCODED}, stringData={"pin": "1234"}))

    assert kept["data"] == {"password": "(redacted, 28 characters)"}
    assert kept["stringData"] == {"pin": "(redacted, 4 characters)"}
    assert kept["metadata"]["name"] == "db"


def test_what_was_applied_holds_the_data_once_more() -> None:
    """kubectl's annotation and the bookkeeping of fields go too; other annotations stay."""
    applied = json.dumps(secret(stringData={"password": PASSWORD}))
    key = "kubectl.kubernetes.io/last-applied-configuration"
    metadata = {"annotations": {key: applied, "note": "mine"}, "managedFields": [{"f:data": {}}]}

    kept = Redaction().of_object(secret(metadata=metadata))

    assert kept["metadata"] == {"annotations": {key: REDACTED, "note": "mine"}}


@pytest.mark.parametrize("seen_as", [PASSWORD, ENCODED])
def test_a_value_is_found_elsewhere(seen_as: str) -> None:
    """A log that prints a Secret's value, encoded or not, is kept without it."""
    redaction = Redaction()
    redaction.of_object(secret(data={"password": ENCODED, "broken": "!"}))

    assert redaction.of_text(f"login {seen_as} ok") == f"login {REDACTED} ok"


def test_lines_of_a_key_are_found_one_by_one() -> None:
    """A log that indents a private key has its lines apart."""
    redaction = Redaction()
    key = "-----BEGIN-----\nabcdefghijkl\nmnopqrstuvwx\n-----END-----"
    redaction.of_object(secret(data={"tls.key": base64.b64encode(key.encode()).decode()}))

    text = redaction.of_text("  abcdefghijkl\n    mnopqrstuvwx")
    assert "abcdefghijkl" not in text
    assert "mnopqrstuvwx" not in text


def test_short_values_do_not_hide_common_words() -> None:
    """A Secret with the value `web` must not blacken every Service of that name."""
    redaction = Redaction()
    redaction.of_object(secret(stringData={"user": "web"}))

    assert redaction.of_text("Service web") == "Service web"


def test_variables_named_like_secrets_lose_their_value() -> None:
    """A password written straight into a Pod goes; its other variables stay."""
    env = [
        {"name": "DB_PASSWORD", "value": "hunter2"},
        {"name": "GITHUB_TOKEN", "value": "x"},
        {"name": "PORT", "value": "80"},
        {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}},
    ]
    pod = {"kind": "Pod", "metadata": {}, "spec": {"containers": [{"name": "web", "env": env}]}}

    kept = Redaction().of_object(pod)["spec"]["containers"][0]["env"]

    assert [each.get("value") for each in kept] == [REDACTED, REDACTED, "80", None]
    assert env[0]["value"] == "hunter2"
