"""On a real cluster: what a stranger's manifests ask for stays in their namespace."""

from __future__ import annotations

import dataclasses
import json
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException, CoreV1Api

from servicelab.cluster import Cluster
from servicelab.grading.intake import (
    Document,
    Policy,
    RefusedByServer,
    Submission,
    applied,
    take_in,
)
from servicelab.grading.intake.abandoned import sweep_abandoned
from servicelab.grading.intake.fence import account_headers
from servicelab.grading.intake.submission import Lines
from servicelab.lab.namespace import OWNER, create_namespace, namespace_name, owner
from servicelab.pins import pins
from servicelab.verdict import deadlines, eventually

pytestmark = pytest.mark.docker

CORPUS = Path(__file__).parents[1] / "hostile"
CONTAINED = sorted(path.name for path in CORPUS.glob("contained-*"))
SPEC = {"containers": [{"name": "web", "image": pins().agnhost_image, "args": ["pause"]}]}
#: What making and removing a namespace takes at most beside the waits, in seconds.
QUICK = 20.0


@pytest.fixture
def namespace() -> str:
    """A name that no namespace has had."""
    return namespace_name("intake")


def unchecked(namespace: str, *manifests: dict[str, Any]) -> Submission:
    """A submission that went past every rule: what then still holds is the cluster's."""
    documents = [
        Document(
            {**each, "metadata": {"namespace": namespace, **each["metadata"]}},
            "web.yaml",
            Lines(1, {"spec": Lines(4, {"containers": Lines(5)})}),
        )
        for each in manifests
    ]
    policy = Policy.default()
    return Submission(tuple(documents), ("web.yaml",), (), "", namespace, policy)


def pod(name: str = "web", **spec: Any) -> dict[str, Any]:
    """A Pod with further fields."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {**SPEC, **spec},
    }


def is_gone(cluster: Cluster, namespace: str) -> bool:
    """Does the namespace exist no longer?"""
    core = CoreV1Api(cluster.client)
    return namespace not in {each.metadata.name for each in core.list_namespace().items}


def test_an_honest_submission_stands(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """Its Pods run without a key to the API server; afterwards its namespace is gone."""
    manifest = tmp_path / "web.json"
    manifest.write_text(json.dumps(pod()))
    submission = take_in(tmp_path, Policy.default(), namespace=namespace)

    with applied(cluster, submission, namespace):
        [found] = eventually(
            lambda: CoreV1Api(cluster.client).list_namespaced_pod(namespace).items,
            lambda pods: [each.status.phase for each in pods] == ["Running"],
            deadline=deadlines.current().pod_ready,
            expecting="the Pod to run",
            tell=lambda pods: f"{len(pods)} Pods",
        )
        labels = CoreV1Api(cluster.client).read_namespace(namespace).metadata.labels

    assert [mount.mount_path for mount in found.spec.containers[0].volume_mounts or ()] == []
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    eventually(
        lambda: is_gone(cluster, namespace),
        lambda gone: gone,
        deadline=deadlines.current().object_deleted,
        expecting="the namespace to be gone",
    )


@pytest.mark.parametrize("name", CONTAINED)
def test_a_hostile_one_is_contained(
    cluster: Cluster, namespace: str, name: str, tmp_path: Path
) -> None:
    """It gets what was expected; a neighbour's Pod starts meanwhile, and its namespace goes."""
    expected = tomllib.loads((CORPUS / name / "expect.toml").read_text(encoding="utf-8"))
    (tmp_path / "web.yaml").write_bytes((CORPUS / name / "web.yaml").read_bytes())
    submission = take_in(tmp_path, Policy.default(), namespace=namespace)
    began = time.monotonic()
    waited = 0.0
    try:
        with applied(cluster, submission, namespace):
            before = time.monotonic()
            told = eventually(
                lambda: cluster.kubectl("-n", namespace, "get", "pods,events", "--output=json"),
                lambda text: all(part in text for part in expected["says"]),
                deadline=deadlines.current().pod_ready,
                expecting=f"the cluster to say {expected['says']}",
                tell=_in_short,
            )
            neighbour = namespace_name("neighbour")
            with applied(cluster, unchecked(neighbour, pod()), neighbour):
                _runs(cluster, neighbour)
            waited = time.monotonic() - before
    except RefusedByServer as refused:
        told = str(refused)

    assert [part for part in expected["says"] if part not in told] == [], told
    assert time.monotonic() - began - waited < QUICK
    eventually(
        lambda: is_gone(cluster, namespace),
        lambda gone: gone,
        deadline=deadlines.current().object_deleted,
        expecting="the namespace to be gone",
    )


def _in_short(listed: str) -> str:
    """Of some Pods and events: the containers' states, and what the events say."""
    items = json.loads(listed)["items"]
    states = [
        f"{each['name']} {json.dumps(each['state'])}"
        for item in items
        for each in item.get("status", {}).get("containerStatuses", ())
    ]
    return "; ".join([*states, *(each["message"] for each in items if each["kind"] == "Event")])


def _runs(cluster: Cluster, namespace: str) -> None:
    eventually(
        lambda: CoreV1Api(cluster.client).read_namespaced_pod("web", namespace).status.phase,
        lambda phase: phase == "Running",
        deadline=deadlines.current().pod_ready,
        expecting="the neighbour's Pod to run",
    )


TERM = {
    "topologyKey": "kubernetes.io/hostname",
    "labelSelector": {},
    "namespaceSelector": {},
}
LONELY = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}
PAST_THE_RULES = [
    (pod(hostNetwork=True), 'violates PodSecurity "baseline', 1),
    (pod(containers=[{**SPEC["containers"][0], "securityContext": {"privileged": True}}]),
     'violates PodSecurity "baseline', 1),
    (pod(volumes=[{"name": "a", "hostPath": {"path": "/"}}]), 'violates PodSecurity "baseline', 1),
    (pod(affinity=LONELY), "exceeded quota", 1),
    (pod(containrs=[]), "Kubernetes knows no such field", 4),
    ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}, "forbidden", 1),
    ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}, "", 1),
    ({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "default"},
      "spec": {"ports": [{"port": 80}]}}, "", 1),
    ({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "a"}},
     "forbidden", 1),
]  # fmt: skip


@pytest.mark.parametrize(("manifest", "says", "line"), PAST_THE_RULES)
def test_what_went_past_the_rules_is_refused_by_the_cluster(
    cluster: Cluster, namespace: str, manifest: dict[str, Any], says: str, line: int
) -> None:
    """The rules and the cluster know nothing of each other: either is enough."""
    with (
        pytest.raises(RefusedByServer) as refused,
        applied(cluster, unchecked(namespace, manifest), namespace),
    ):
        pass

    [finding] = refused.value.findings
    assert says in finding.why
    assert finding.line == line


def test_the_account_may_make_objects_and_nothing_else(cluster: Cluster, namespace: str) -> None:
    """It neither reads its own namespace nor touches another's, nor becomes somebody else."""
    dynamic: Any = cluster.dynamic
    headers = account_headers(namespace)
    tries = [
        ("get", f"/api/v1/namespaces/{namespace}/secrets"),
        ("get", f"/api/v1/namespaces/{namespace}/pods"),
        ("get", "/api/v1/nodes"),
        ("delete", f"/api/v1/namespaces/{namespace}"),
        ("delete", f"/api/v1/namespaces/{namespace}/resourcequotas/submission"),
        ("post", f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"),
        ("post", f"/api/v1/namespaces/{namespace}/pods/web/exec"),
        ("post", f"/api/v1/namespaces/{namespace}/pods/web/ephemeralcontainers"),
    ]
    with applied(cluster, unchecked(namespace, pod()), namespace):
        for verb, path in tries:
            with pytest.raises(ApiException) as refused:
                dynamic.request(verb, path, body={}, header_params=dict(headers))
            assert refused.value.status == 403, (verb, path)


def test_a_quota_ends_a_flood(cluster: Cluster, namespace: str) -> None:
    """Objects beyond the quota are refused, however many there are."""
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"web-{number}"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        }
        for number in range(40)
    ]
    with (
        pytest.raises(RefusedByServer, match="exceeded quota"),
        applied(cluster, unchecked(namespace, *services), namespace),
    ):
        pass


def test_a_finalizer_does_not_keep_a_namespace(cluster: Cluster, namespace: str) -> None:
    """One that nobody will ever take off is taken off, and the block ends soon."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    never = {"metadata": {"finalizers": ["example.com/never"]}}
    with applied(cluster, unchecked(namespace, config, pod()), namespace):
        core: Any = CoreV1Api(cluster.client)
        core.patch_namespaced_config_map("a", namespace, never)
        core.patch_namespaced_pod("web", namespace, never)
        began = time.monotonic()

    assert time.monotonic() - began < QUICK
    eventually(
        lambda: is_gone(cluster, namespace),
        lambda gone: gone,
        deadline=deadlines.current().object_deleted,
        expecting="the namespace to be gone",
    )


def test_several_are_applied_at_a_time(cluster: Cluster) -> None:
    """From several threads, each in its own namespace."""
    names = [namespace_name(f"intake-{number}") for number in range(4)]

    def stand(name: str) -> list[str]:
        with applied(cluster, unchecked(name, pod()), name):
            pods = CoreV1Api(cluster.client).list_namespaced_pod(name).items
            return [each.metadata.name for each in pods]

    with ThreadPoolExecutor(4) as workers:
        assert list(workers.map(stand, names)) == [["web"]] * 4


def test_a_name_is_taken_in_for_one_namespace(cluster: Cluster, namespace: str) -> None:
    """What was checked for one namespace is not applied in another."""
    submission = dataclasses.replace(unchecked(namespace, pod()), namespace="another")
    with pytest.raises(ValueError, match="taken in for 'another'"):
        applied(cluster, submission, namespace).__enter__()


def test_what_a_killed_run_left_is_swept(cluster: Cluster, namespace: str) -> None:
    """A namespace whose maker is gone is deleted; one that is being used stays."""
    used = namespace_name("used")
    core: Any = CoreV1Api(cluster.client)
    create_namespace(core, namespace)
    create_namespace(core, used)
    gone = {**json.loads(owner()), "started": 0.0}
    core.patch_namespace(namespace, {"metadata": {"annotations": {OWNER: json.dumps(gone)}}})

    swept = sweep_abandoned(cluster)

    assert namespace in swept
    assert used not in swept
    core.delete_namespace(used)
