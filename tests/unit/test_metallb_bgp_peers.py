"""MetalLB 0.15's BGPPeer is mended for Kubernetes 1.36 and newer, which refuse it as it is."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from servicelab.errors import UsageError
from servicelab.metallb import webhook
from servicelab.metallb.bgp_peers import mend_numbers

NARROW = {"type": "integer", "format": "int32", "maximum": 4294967295}
SCHEMA = {
    "properties": {
        "spec": {
            "properties": {
                "myASN": NARROW,
                "peerASN": NARROW,
                "peerPort": {"type": "integer", "format": "int32", "maximum": 16384},
                "holdTime": {"type": "string"},
            }
        }
    }
}


class FakeCluster:
    """Has one custom resource definition, and remembers its patches."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self.patches: list[dict[str, Any]] = []
        self.dynamic = self.resources = self

    def get(self, **_: Any) -> Any:
        return self

    def to_dict(self) -> dict[str, Any]:
        versions = [{"schema": {"openAPIV3Schema": self.schema}}]
        return {"spec": {"versions": versions}}

    def patch(self, *, body: list[dict[str, Any]], **_: Any) -> None:
        self.patches += body


def test_numbers_whose_maximum_is_no_int32_are_made_int64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those only; then it waits until the API server goes by it."""
    refusals = [UsageError("Maximum boundary value"), UsageError("Maximum boundary value")]

    def apply(cluster: object, document: object, *, dry_run: bool) -> None:
        assert dry_run
        if refusals:
            raise refusals.pop()

    monkeypatch.setattr(webhook, "apply", apply)
    cluster = FakeCluster(SCHEMA)

    assert mend_numbers(cast(Any, cluster)) == ("myASN", "peerASN")
    assert not refusals
    spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties"
    assert cluster.patches == [
        {"op": "replace", "path": f"{spec}/{name}/format", "value": "int64"}
        for name in ("myASN", "peerASN")
    ]


def test_a_metallb_that_says_it_right_is_left_alone() -> None:
    """Nothing is patched, nothing is waited for."""
    schema = copy.deepcopy(SCHEMA)
    for name in ("myASN", "peerASN"):
        schema["properties"]["spec"]["properties"][name]["format"] = "int64"
    cluster = FakeCluster(schema)

    assert mend_numbers(cast(Any, cluster)) == ()
    assert cluster.patches == []
