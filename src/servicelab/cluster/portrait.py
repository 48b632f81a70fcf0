"""What a cluster is like as a whole, so that one can tell whether it is again as it was before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import yaml

from servicelab.cluster.containers import node_states
from servicelab.cluster.proxy_mode import mode_seen
from servicelab.vantage.nodes import SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from servicelab.cluster.kind_cluster import Cluster

#: What runs the cluster itself lives here; the labs' own namespaces are theirs.
NAMESPACES = ("kube-system", SYSTEM_NAMESPACE)
STATIC_MANIFESTS = "/etc/kubernetes/manifests"
GONE = "nothing"
#: Taints of this group follow a node's conditions, which are looked at themselves.
_OF_CONDITIONS = "node.kubernetes.io/"

Portrait = Mapping[str, str]
"""Facts by what they are about, such as "node kind-worker, Ready": "True"."""


def portrait(cluster: Cluster) -> Portrait:
    """Take down what the labs rely on.

    That is: each node's container, conditions, address and taints; the control plane's static
    manifests; workloads, ConfigMaps and Services of the system's namespaces; and each node's proxy
    mode, as kube-proxy reports it and the kernel shows it.

    Raises:
        kubernetes.client.ApiException: the API server refuses to answer.
        urllib3.exceptions.HTTPError: it does not answer.
        InfrastructureError: a node's container or its probe does not answer.
    """
    views: list[Callable[[Cluster], Portrait]] = [
        _containers,
        _nodes,
        _static_manifests,
        _system,
        _proxy_modes,
    ]
    with ThreadPoolExecutor(max_workers=len(views)) as looking:
        found = list(looking.map(lambda view: view(cluster), views))
    return {key: value for facts in found for key, value in facts.items()}


def differences(before: Portrait, now: Portrait) -> list[str]:
    """What is not as it was, each in a few words, sorted."""
    return [
        f"{key}: {before.get(key, GONE)} before, {now.get(key, GONE)} now"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]


def unsettled(facts: Portrait) -> list[str]:
    """What is still under way, such as a node that is not Ready yet, each in a few words.

    A kube-proxy that does not answer is, too: on a busy node the question may have come too late.
    """
    return [
        f"{key}: {value}"
        for key, value in sorted(facts.items())
        if (key.endswith(", Ready") and value != "True")
        or (key.endswith(", Pods") and len(set(value.removesuffix(" ready").split(" of "))) > 1)
        or (key.endswith(", reported mode") and value == GONE)
    ]


def _containers(cluster: Cluster) -> Portrait:
    states = node_states(cluster.engine, cluster.name)
    return {f"container {name}": state for name, state in states.items()}


def _nodes(cluster: Cluster) -> Portrait:
    from kubernetes.client import CoreV1Api

    core: Any = CoreV1Api(cluster.client)
    facts = {}
    for node in core.list_node().items:
        of = f"node {node.metadata.name}"
        conditions = {each.type: each.status for each in node.status.conditions or ()}
        facts[f"{of}, Ready"] = conditions.get("Ready", "Unknown")
        facts[f"{of}, addresses"] = " ".join(each.address for each in node.status.addresses or ())
        taints = sorted(
            f"{each.key}:{each.effect}"
            for each in node.spec.taints or ()
            if not each.key.startswith(_OF_CONDITIONS)
        )
        facts[f"{of}, taints"] = " ".join(taints) or "none"
        facts[f"{of}, schedulable"] = "no" if node.spec.unschedulable else "yes"
    return facts


def _static_manifests(cluster: Cluster) -> Portrait:
    facts = {}
    for node in cluster.nodes:
        if node.role != "control-plane":
            continue
        listed = cluster.docker_exec(
            node.name, "find", STATIC_MANIFESTS, "-type", "f", "-exec", "sha256sum", "{}", "+"
        )
        for line in listed.splitlines():
            digest, path = line.split(maxsplit=1)
            facts[f"{node.name}:{path}"] = digest[:12]
    return facts


def _system(cluster: Cluster) -> Portrait:
    from kubernetes.client import AppsV1Api, CoreV1Api

    core: Any = CoreV1Api(cluster.client)
    apps: Any = AppsV1Api(cluster.client)
    facts = {}
    for namespace in NAMESPACES:
        for each in apps.list_namespaced_daemon_set(namespace).items:
            of = f"DaemonSet {namespace}/{each.metadata.name}"
            wanted, ready = each.status.desired_number_scheduled, each.status.number_ready
            facts[f"{of}, Pods"] = f"{ready or 0} of {wanted or 0} ready"
            facts[f"{of}, spec"] = _digest(cluster, each.spec)
        for each in apps.list_namespaced_deployment(namespace).items:
            of = f"Deployment {namespace}/{each.metadata.name}"
            ready = each.status.ready_replicas or 0
            facts[f"{of}, Pods"] = f"{ready} of {each.spec.replicas} ready"
            facts[f"{of}, spec"] = _digest(cluster, each.spec)
        for each in core.list_namespaced_config_map(namespace).items:
            of = f"ConfigMap {namespace}/{each.metadata.name}"
            # What a text means counts: a configuration that is put back may be laid out anew.
            facts[of] = _digest(
                cluster, {key: _meant(text) for key, text in (each.data or {}).items()}
            )
        for each in core.list_namespaced_service(namespace).items:
            facts[f"Service {namespace}/{each.metadata.name}"] = _digest(cluster, each.spec)
    return facts


def _proxy_modes(cluster: Cluster) -> Portrait:
    vantages = cluster.node_vantages
    with ThreadPoolExecutor(max_workers=len(vantages)) as looking:
        seen = looking.map(lambda vantage: mode_seen(cluster, vantage), vantages)
        facts = {}
        for each in seen:
            of = f"kube-proxy on {each.node}"
            facts[f"{of}, reported mode"] = each.reported or GONE
            facts[f"{of}, rules in the kernel"] = " and ".join(each.rules) or GONE
        return facts


def _meant(text: str) -> Any:
    """A YAML mapping as its content, any other text as it is."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return content if isinstance(content, dict) else text


def _digest(cluster: Cluster, value: Any) -> str:
    client: Any = cluster.client
    wire = client.sanitize_for_serialization(value)
    text = json.dumps(wire, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
