"""Where evidence comes from: what of the cluster is worth keeping, and how to get it.

Each `Piece` is one file; all of them are asked for at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import yaml

from servicelab.observe.printed_rules import printed_rules
from servicelab.report.evidence.redaction import Redaction

if TYPE_CHECKING:
    from servicelab.cluster import Cluster
    from servicelab.lab import Lab

API_SECONDS = 4.0
"""For one answer of the API server; it takes milliseconds unless the server itself is the fault."""
_MOST_OBJECTS = 300
_LOG_LINES = 400
_SYSTEM_LOG_LINES = 150
_LOG_BYTES = 200_000
_MOST_PODS = 40

#: Each with the API group (as an attribute of `Api`) and its list method.
_KINDS = (
    ("Service", "v1", "core", "list_namespaced_service"),
    ("Pod", "v1", "core", "list_namespaced_pod"),
    ("ConfigMap", "v1", "core", "list_namespaced_config_map"),
    ("Secret", "v1", "core", "list_namespaced_secret"),
    ("ServiceAccount", "v1", "core", "list_namespaced_service_account"),
    ("Deployment", "apps/v1", "apps", "list_namespaced_deployment"),
    ("ReplicaSet", "apps/v1", "apps", "list_namespaced_replica_set"),
    ("StatefulSet", "apps/v1", "apps", "list_namespaced_stateful_set"),
    ("DaemonSet", "apps/v1", "apps", "list_namespaced_daemon_set"),
    ("NetworkPolicy", "networking.k8s.io/v1", "networking", "list_namespaced_network_policy"),
)
_SLICES = (("EndpointSlice", "discovery.k8s.io/v1", "discovery", "list_namespaced_endpoint_slice"),)
_SYSTEM = "kube-system"
_SYSTEM_PODS = (("kube-proxy", "k8s-app=kube-proxy"), ("CoreDNS", "k8s-app=kube-dns"))


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of evidence.

    Attributes:
        title: what it holds, for people; names in it may be anybody's.
        path: folders and name, each still to be made a file's name.
        get: asks for it; may give further pieces instead of a text.
        keep: which end of it says more, if it is too long.
    """

    title: str
    path: tuple[str, ...]
    get: Callable[[], str | Sequence[Piece]]
    keep: Literal["first", "last"] = "first"


class Api:
    """The groups of the API that evidence is read from, over one client."""

    def __init__(self, cluster: Cluster) -> None:
        from kubernetes import client

        self.core = client.CoreV1Api(cluster.client)
        self.apps = client.AppsV1Api(cluster.client)
        self.discovery = client.DiscoveryV1Api(cluster.client)
        self.networking = client.NetworkingV1Api(cluster.client)

    def items(self, group: str, method: str, *args: str, **selection: Any) -> list[dict[str, Any]]:
        """The objects of one kind, as the API server writes them."""
        answer = raw(getattr(getattr(self, group), method), *args, limit=_MOST_OBJECTS, **selection)
        return list(json.loads(answer)["items"])


def raw(call: Callable[..., Any], *args: str, **details: Any) -> bytes:
    """What the API server answers to a call of the official client, not turned into objects."""
    answer = call(*args, _preload_content=False, _request_timeout=API_SECONDS, **details)
    return bytes(answer.data)


def of_lab(lab: Lab, redaction: Redaction) -> list[Piece]:
    """What stands in a lab's namespaces, and whatever else the lab says belongs to it."""
    api = Api(lab.cluster)
    pieces = _of_namespace(api, lab.namespace, "", redaction)
    for other in lab.others:
        pieces += _of_namespace(api, other.namespace, f" in {other.namespace}", redaction)
    own = [Piece(name, (name,), say) for name, say in lab.also_kept.items()]
    return [*pieces, *own]


def of_cluster(cluster: Cluster, redaction: Redaction) -> list[Piece]:
    """The nodes with their rules, and the logs of what makes Services and names work."""
    api = Api(cluster)
    rules = [
        Piece(
            f"{cluster.mode} rules of {node.name}",
            ("rules", f"{node.name}.txt"),
            partial(printed_rules, cluster, node.name, cluster.mode),
        )
        for node in cluster.nodes
    ]
    logs = [
        Piece(
            f"logs of {what}",
            ("system", f"{what.lower()}.txt"),
            partial(_logs, api, _SYSTEM, f"{what} on ", ("system",), label_selector=selector),
        )
        for what, selector in _SYSTEM_PODS
    ]
    nodes = Piece("nodes", ("nodes.yaml",), partial(_nodes, api, redaction))
    return [*rules, *logs, nodes]


def _of_namespace(api: Api, namespace: str, where: str, redaction: Redaction) -> list[Piece]:
    def piece(title: str, name: str, get: Callable[..., Any], *args: Any) -> Piece:
        return Piece(f"{title}{where}", (namespace, name), partial(get, api, *args))

    return [
        piece("objects", "objects.yaml", _objects, namespace, _KINDS, redaction),
        piece("EndpointSlices", "endpointslices.yaml", _objects, namespace, _SLICES, redaction),
        piece("events", "events.txt", _events, namespace),
        piece("Pod logs", "logs.txt", _logs, namespace, "", (namespace, "logs")),
    ]


def _objects(
    api: Api, namespace: str, kinds: Sequence[tuple[str, str, str, str]], redaction: Redaction
) -> str:
    from kubernetes.client.exceptions import ApiException

    documents = []
    refused = []
    for kind, version, group, method in kinds:
        try:
            listed = api.items(group, method, namespace)
        except ApiException as error:  # an existing cluster may let us see less
            refused.append(f"# {kind}: the API server refuses: {error.status} {error.reason}\n")
            continue
        documents += [{"apiVersion": version, "kind": kind, **each} for each in listed]
    return "".join(refused) + _as_yaml([redaction.of_object(each) for each in documents])


def _nodes(api: Api, redaction: Redaction) -> str:
    nodes = []
    for node in api.items("core", "list_node"):
        node["status"].pop("images", None)  # long, and the same everywhere
        nodes.append(redaction.of_object({"apiVersion": "v1", "kind": "Node", **node}))
    return _as_yaml(nodes)


def _as_yaml(documents: list[dict[str, Any]]) -> str:
    if not documents:
        return "# none\n"
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    written: str = yaml.dump_all(
        documents, Dumper=dumper, sort_keys=False, allow_unicode=True, width=100
    )
    return written


def _events(api: Api, namespace: str) -> str:
    def when(event: dict[str, Any]) -> str:
        series = event.get("series") or {}
        return str(
            series.get("lastObservedTime")
            or event.get("lastTimestamp")
            or event.get("eventTime")
            or ""
        )

    rows = []
    for event in sorted(api.items("core", "list_namespaced_event", namespace), key=when):
        about = event.get("involvedObject") or {}
        count = event.get("count") or (event.get("series") or {}).get("count") or 1
        source = event.get("reportingComponent") or (event.get("source") or {}).get("component")
        rows.append(
            f"{when(event):<27}  {event.get('type')!s:<7}  {event.get('reason')}  "
            f"{about.get('kind')}/{about.get('name')}  {count}x  from {source or '?'}\n"
            f"    {' '.join(str(event.get('message') or '').split())}\n"
        )
    return "".join(rows) or "no events\n"


def _logs(
    api: Api, namespace: str, title: str, folder: tuple[str, ...], **selection: Any
) -> str | Sequence[Piece]:
    pieces = []
    pods = api.items("core", "list_namespaced_pod", namespace, **selection)
    lines = _SYSTEM_LOG_LINES if namespace == _SYSTEM else _LOG_LINES
    for pod in pods[:_MOST_PODS]:
        name = pod["metadata"]["name"]
        node = pod["spec"].get("nodeName", "no node")
        statuses = pod.get("status", {}).get("containerStatuses") or ()
        for status in statuses:
            container = status["name"]
            # A container that waits has no log, one that was started again has two.
            runs = [False] if "waiting" not in status.get("state", {}) else []
            runs += [True] if status.get("restartCount") else []
            for previous in runs:
                ending = "-before-restart" if previous else ""
                whose = f"{title}{node}" if title else f"log of {name}/{container}"
                pieces.append(
                    Piece(
                        f"{whose}{' before its restart' if previous else ''}",
                        (*folder, f"{name}.{container}{ending}.txt"),
                        partial(_log, api, namespace, name, container, lines, previous),
                        keep="last",
                    )
                )
    return pieces or "no Pod has a log\n"


def _log(api: Api, namespace: str, pod: str, container: str, lines: int, previous: bool) -> str:
    written = raw(
        api.core.read_namespaced_pod_log,
        pod,
        namespace,
        container=container,
        previous=previous,
        timestamps=True,
        tail_lines=lines,
        limit_bytes=_LOG_BYTES,
    ).decode("utf-8", "replace")
    return written or "(empty)\n"
