"""A fault reaches what is applied, what stands there, and what a verb does."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any, cast

import pytest

from servicelab.cluster import Cluster
from servicelab.lab import Fault, Lab
from servicelab.lab import lab as module

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}


class Calls:
    """Takes down each call of any method, as (name, arguments)."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.made.append((name, *args))


class FakeCluster:
    """Takes down what is applied and what kubectl is told."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.kubectl_args: list[tuple[str, ...]] = []
        self.swept = 0
        self.dynamic = Object(resources=Object(get=lambda **kind: Object(server_side_apply=self)))
        self.failure: subprocess.CalledProcessError | None = None

    def __call__(self, *, name: str, **kwargs: Any) -> None:
        self.applied.append(name)

    def kubectl(self, *args: str, **kwargs: Any) -> str:
        self.kubectl_args.append(args)
        if self.failure:
            raise self.failure
        return "done"

    def localised(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return documents

    def sweep(self, deletion: Any) -> None:
        self.swept += 1


@pytest.fixture
def cluster() -> FakeCluster:
    """A cluster that does nothing."""
    return FakeCluster()


@pytest.fixture
def make_lab(monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster) -> Any:
    """Makes a lab in the fake cluster, with a fault or without."""
    monkeypatch.setattr(module, "create_namespace", lambda core, name: None)
    monkeypatch.setattr(Lab, "core", Calls())
    monkeypatch.setattr(Lab, "apps", Calls())
    return lambda fault=None: Lab(cast(Cluster, cluster), Path(), "clusterip-CIP-03", fault)


def test_without_a_fault_the_verbs_act_on_the_cluster(make_lab: Any, cluster: FakeCluster) -> None:
    """Each verb becomes the call of the API that it is named after."""
    lab = make_lab()

    lab.apply_documents([POD])
    lab.label("web", app="other")
    lab.scale("web", 3)
    lab.patch_service("web", sessionAffinity="ClientIP")
    lab.delete_pod("web", grace_seconds=0)
    lab.delete_service("web")

    assert cluster.applied == ["web"]
    assert [call[0] for call in lab.core.made] == [
        "patch_namespaced_pod",
        "patch_namespaced_service",
        "delete_namespaced_pod",
        "delete_namespaced_service",
    ]
    assert lab.apps.made == [
        ("patch_namespaced_deployment_scale", "web", lab.namespace, {"spec": {"replicas": 3}})
    ]


@pytest.mark.parametrize(
    ("verb", "args", "options"),
    [
        ("label", ("web",), {"app": "other"}),
        ("scale", ("web", 3), {}),
        ("patch_service", ("web",), {"sessionAffinity": "ClientIP"}),
        ("delete_pod", ("web",), {}),
        ("delete_service", ("web",), {}),
    ],
)
def test_a_verb_does_what_the_fault_says_instead(
    make_lab: Any, verb: str, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """The fault gets the lab and the verb's arguments, and the API is left alone."""
    got: list[Any] = []
    lab = make_lab(Fault(instead={verb: lambda *args, **options: got.append((args, options))}))

    getattr(lab, verb)(*args, **options)

    assert got == [((lab, *args), options)]
    assert lab.core.made == []
    assert lab.apps.made == []


def test_a_fault_of_one_verb_leaves_the_others(make_lab: Any) -> None:
    """What is not named is done."""
    lab = make_lab(Fault(instead={"scale": lambda lab, name, replicas: None}))

    lab.scale("web", 3)
    lab.delete_service("web")

    assert lab.apps.made == []
    assert [call[0] for call in lab.core.made] == ["delete_namespaced_service"]


def test_a_fault_changes_what_is_applied(make_lab: Any, cluster: FakeCluster) -> None:
    """It gets the objects of one call, and what it returns is applied."""
    further = POD | {"metadata": {"name": "further"}}
    lab = make_lab(Fault(documents=lambda documents: [*documents, further]))

    lab.apply_documents([POD])

    assert cluster.applied == ["web", "further"]


def test_a_fault_acts_after_each_apply(make_lab: Any, cluster: FakeCluster) -> None:
    """The objects stand there when it acts."""
    seen: list[list[str]] = []
    lab = make_lab(Fault(after_apply=lambda lab: seen.append(list(cluster.applied))))

    lab.apply_documents([POD])
    lab.apply_documents([])

    assert seen == [["web"], ["web"]]


def test_another_namespace_has_the_same_fault(make_lab: Any) -> None:
    """What is wrong in a lab is wrong in all its namespaces."""
    fault = Fault()
    lab = make_lab(fault)

    other = lab.other()

    assert other.fault is fault
    assert other.namespace != lab.namespace


def test_kubectl_runs_in_the_namespace_as_the_fault_has_it(
    make_lab: Any, cluster: FakeCluster
) -> None:
    """The fault may change arguments and input; the namespace stays."""

    def kubectl(lab: Lab, *args: str, stdin: str | None) -> tuple[list[str], str | None]:
        return [*args, "--type=NodePort"], stdin

    lab = make_lab(Fault(instead={"kubectl": kubectl}))

    assert lab.kubectl("expose", "deployment", "web") == "done"
    assert cluster.kubectl_args == [
        ("--namespace", lab.namespace, "expose", "deployment", "web", "--type=NodePort")
    ]


def test_a_failing_kubectl_shows_what_it_said(make_lab: Any, cluster: FakeCluster) -> None:
    """The exception is subprocess's own, with kubectl's words in `.stderr` and in a note."""
    said = 'The Service "Web" is invalid\n'
    cluster.failure = subprocess.CalledProcessError(1, ["kubectl"], stderr=said)

    with pytest.raises(subprocess.CalledProcessError) as failed:
        make_lab().kubectl("apply", "-f", "-")

    assert failed.value.stderr == said
    assert failed.value.__notes__ == ['kubectl said: The Service "Web" is invalid']


def test_closing_undoes_what_is_outside_the_namespace(make_lab: Any, cluster: FakeCluster) -> None:
    """Last come, first undone, in other namespaces too, before the namespaces are deleted."""
    undone: list[tuple[str, int]] = []
    lab = make_lab()
    lab.on_close(lambda: undone.append(("first", cluster.swept)))
    lab.other().on_close(lambda: undone.append(("other", cluster.swept)))
    lab.on_close(lambda: undone.append(("last", cluster.swept)))

    lab.close()

    assert undone == [("last", 0), ("other", 0), ("first", 0)]
    assert cluster.swept == 2


def test_namespaces_go_even_if_undoing_fails(make_lab: Any, cluster: FakeCluster) -> None:
    """The failure is told, and nothing else is left behind."""

    def fail() -> None:
        raise OSError("no such node")

    lab = make_lab()
    lab.on_close(fail)

    with pytest.raises(OSError, match="no such node"):
        lab.close()

    assert cluster.swept == 1
