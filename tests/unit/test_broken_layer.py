"""A failed claim's message gets the first broken layer, and keeps its own failure."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any

import pytest

from servicelab import explain
from servicelab.explain import Layer, State, Walk, Word
from servicelab.report.broken_layer import broken_layers
from servicelab.verdict import deadlines

SELECTOR = Layer(Word.SELECTOR, State.BROKEN, "app=webb", "nobody has app=webb", "kubectl get pods")


def lab(*services: str) -> Any:
    """A lab with Services."""
    listed = [
        Object(
            metadata=Object(name=name, namespace="shop-1"),
            spec=Object(cluster_ip=f"10.96.0.{number}"),
        )
        for number, name in enumerate(services)
    ]
    return Object(
        namespace="shop-1",
        core=Object(list_namespaced_service=lambda namespace: Object(items=listed)),
        cluster=Object(client=None),
    )


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Services that were walked; `web` is broken, `slow` takes too long, `odd` fails."""
    names: list[str] = []
    forever = threading.Event()

    def lightly(access: Any, namespace: str, name: str) -> Walk:
        names.append(name)
        if name == "slow":
            forever.wait(5)
        if name == "odd":
            raise KeyError("spec")
        layers = (SELECTOR,) if name == "web" else ()
        return Walk(f"{namespace}/{name}", "ClusterIP", layers, "3 nodes")

    monkeypatch.setattr(explain, "explain_lightly", lightly)
    before = deadlines.use(deadlines.parse(["layers_walked=0.3"]))
    yield names
    forever.set()
    deadlines.use(before)


def test_the_layer_the_sentence_and_the_command_are_noted(walked: list[str]) -> None:
    """One note for a broken Service."""
    assert broken_layers([lab("web", "api")], "no answer") == [
        "first broken layer: selector: Service web: nobody has app=webb\n"
        "  try        kubectl get pods"
    ]
    assert sorted(walked) == ["api", "web"]


@pytest.mark.parametrize(
    "message",
    ["Service shop-1/api should answer", "http://10.96.0.1:80/", "api.shop-1.svc.cluster.local"],
)
def test_services_that_the_message_names_are_walked(walked: list[str], message: str) -> None:
    """By name, address or DNS name; the others are left alone."""
    assert broken_layers([lab("web", "api", "api-2")], message) == [
        "first broken layer: none (Service api)"
    ]
    assert walked == ["api"]


def test_a_walk_that_fails_or_is_late_is_a_line(walked: list[str]) -> None:
    """Nothing is raised, and the time is kept."""
    assert broken_layers([lab("slow", "odd", "web")], "") == [
        "first broken layer: selector: Service web: nobody has app=webb\n"
        "  try        kubectl get pods",
        "(looking for the broken layer failed: KeyError: 'spec')",
        "(the broken layer was not found within 0.3 s)",
    ]


def test_services_that_cannot_be_listed_are_a_line(walked: list[str]) -> None:
    """As when the API server is down."""
    deaf = lab("web")
    del deaf.core

    (line,) = broken_layers([deaf], "")

    assert "failed: AttributeError" in line


def test_without_a_lab_there_is_nothing_to_walk() -> None:
    """A test that asks something else gets no note."""
    assert broken_layers([], "no answer") == []


def test_a_failed_claim_has_it_in_its_message(fake_lab: Any, monkeypatch: Any) -> None:
    """The test's own failure stands first; a test that passes is not walked for."""
    monkeypatch.setattr("servicelab.report.broken_layer.labs_of", lambda item: [lab("web")])
    monkeypatch.setattr(
        explain,
        "explain_lightly",
        lambda access, namespace, name: Walk("a/b", "ClusterIP", (SELECTOR,), "here"),
    )
    fake_lab.claims('[CIP-01]\nsays = "It works"\nknown = [{ verdict = "holds" }]\n')
    fake_lab.tests("@claim('CIP-01')\ndef test_it(proxy_mode): assert False, 'it does not'")

    result = fake_lab.run("--claims-json", "claims.json")

    output = result.stdout.str()
    assert output.index("it does not") < output.index("first broken layer: selector: Service web")
    (entry,) = json.loads(Path("claims.json").read_text(encoding="utf-8"))["claims"]
    assert entry["message"].startswith("it does not")
    assert "first broken layer: selector: Service web: nobody has app=webb" in entry["message"]
