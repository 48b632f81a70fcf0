"""Reading the snapshot: everything at once, and nothing is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError, ServicelabError, UsageError
from servicelab.explain.objects import Json, name_of
from servicelab.explain.snapshot import MetalLB, Snapshot
from servicelab.explain.wording import listed
from servicelab.observe.model import ServiceRule, rules_for
from servicelab.observe.node_rules import node_rules
from servicelab.vantage.nodes import PROBE_SELECTOR, SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from servicelab.cluster import Cluster

API_SECONDS = 10.0
"""Deadline for one answer of the API server; it takes milliseconds."""

_DNS_ZONE = re.compile(r"^\s*kubernetes\s+(\S+)", re.MULTILINE)
_ITEMS = ("ipaddresspools", "l2advertisements", "bgpadvertisements", "servicel2statuses")


@dataclass(frozen=True, slots=True)
class Access:
    """How a cluster is reached.

    Attributes:
        cluster: one of ours, whose nodes can be entered, or anybody's.
    """

    cluster: Cluster

    @property
    def client(self) -> ApiClient:
        """The API server, by the official client."""
        return self.cluster.client


def read_snapshot(access: Access, namespace: str, name: str) -> Snapshot:
    """Everything that a Service's layers are read from.

    Raises:
        UsageError: there is no such Service.
        InfrastructureError: the API server does not answer, or does not show the Service.
    """
    service = _read_service(access, namespace, name)
    balanced = service["spec"].get("type") == "LoadBalancer"
    listings = _listings(access, namespace) | (_metallb_listings(access) if balanced else {})
    with ThreadPoolExecutor(max_workers=8) as reading:
        rules = reading.submit(_read_rules, access, namespace, name)
        network = reading.submit(_read_network, access) if balanced else None
        outcomes = dict(zip(listings, reading.map(_attempt, listings.values()), strict=True))
    found = {what: outcome for what, outcome in outcomes.items() if isinstance(outcome, tuple)}
    refused = {what: why for what, why in outcomes.items() if isinstance(why, str)}
    macs, subnets = network.result() if network else ({}, ())
    mode, by_node = rules.result()
    corefile = "".join(
        (each.get("data") or {}).get("Corefile", "") for each in found.get("the Corefile", ())
    )
    zone = _DNS_ZONE.search(corefile)
    system = found.get("kube-system's Pods", ())
    return Snapshot(
        service=service,
        pods=found.get("Pods", ()),
        slices=found.get("EndpointSlices", ()),
        events=found.get("events", ()),
        policies=found.get("NetworkPolicies", ()),
        workloads=tuple(
            {"kind": kind, **each}
            for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
            for each in found.get(f"{kind}s", ())
        ),
        nodes=found.get("nodes", ()),
        proxies=_labelled(system, "kube-proxy"),
        dns_service=next(iter(found.get("kube-dns", ())), None),
        dns_pods=_labelled(system, "kube-dns"),
        domain=zone[1].rstrip(".") if zone else "cluster.local",
        metallb=MetalLB(
            pools=found.get("ipaddresspools", ()),
            l2=found.get("l2advertisements", ()),
            bgp=found.get("bgpadvertisements", ()),
            announcers=found.get("servicel2statuses", ()),
            pods=found.get("MetalLB's Pods", ()) + found.get("its chart's Pods", ()),
            known="ipaddresspools" in found,
        ),
        probes=found.get("probes", ()),
        rules=by_node,
        mode=mode,
        macs=macs,
        subnets=subnets,
        refused=refused,
    )


def _read_service(access: Access, namespace: str, name: str) -> Json:
    from kubernetes.client import CoreV1Api
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    core = CoreV1Api(access.client)
    try:
        answer: Any = core.read_namespaced_service(
            name, namespace, _preload_content=False, _request_timeout=API_SECONDS
        )
    except ApiException as error:
        if error.status == 404:
            raise UsageError(
                f"there is no Service {namespace}/{name}", remedy=_others(core, namespace, name)
            ) from None
        raise InfrastructureError(
            f"the API server does not show the Service {namespace}/{name}: {_reason(error)}"
        ) from None
    except HTTPError as error:
        raise InfrastructureError(
            f"the API server at {access.client.configuration.host} does not answer: {error}",
            remedy="see that the cluster runs, and which one the kubeconfig names",
        ) from None
    found: Json = json.loads(answer.data)
    return found


def _others(core: Any, namespace: str, name: str) -> str:
    """What there is in place of a Service that does not exist."""
    from kubernetes.client.exceptions import ApiException

    try:
        answer = core.list_service_for_all_namespaces(
            _preload_content=False, _request_timeout=API_SECONDS
        )
    except ApiException as error:
        return f"other Services can't be listed: {_reason(error)}"
    every = [
        (each["metadata"]["namespace"], name_of(each)) for each in json.loads(answer.data)["items"]
    ]
    spaces = {space for space, _ in every}
    if elsewhere := [space for space, each in every if each == name]:
        return f"the namespace {listed(elsewhere)} has one of that name"
    if namespace not in spaces and (close := get_close_matches(namespace, spaces)):
        return f"did you mean the namespace {close[0]}?"
    here = [each for space, each in every if space == namespace]
    if alike := get_close_matches(name, here):
        return f"there is {namespace}/{alike[0]}"
    return f"the namespace {namespace} has {listed(here, most=6) or 'no Services'}"


def _listings(access: Access, namespace: str) -> dict[str, Callable[[], Any]]:
    from kubernetes.client import AppsV1Api, CoreV1Api, DiscoveryV1Api, NetworkingV1Api

    core, apps = CoreV1Api(access.client), AppsV1Api(access.client)
    slices = DiscoveryV1Api(access.client).list_namespaced_endpoint_slice
    policies = NetworkingV1Api(access.client).list_namespaced_network_policy

    def of(method: Callable[..., Any], *args: str, **selection: str) -> Callable[[], Any]:
        return lambda: method(
            *args, **selection, _preload_content=False, _request_timeout=API_SECONDS
        )

    return {
        "Pods": of(core.list_namespaced_pod, namespace),
        "EndpointSlices": of(slices, namespace),
        "events": of(core.list_namespaced_event, namespace),
        "NetworkPolicies": of(policies, namespace),
        "Deployments": of(apps.list_namespaced_deployment, namespace),
        "ReplicaSets": of(apps.list_namespaced_replica_set, namespace),
        "StatefulSets": of(apps.list_namespaced_stateful_set, namespace),
        "DaemonSets": of(apps.list_namespaced_daemon_set, namespace),
        "nodes": of(core.list_node),
        "kube-system's Pods": of(
            core.list_namespaced_pod,
            "kube-system",
            label_selector="k8s-app in (kube-proxy, kube-dns)",
        ),
        "kube-dns": of(
            core.list_namespaced_service, "kube-system", label_selector="k8s-app=kube-dns"
        ),
        "the Corefile": of(
            core.list_namespaced_config_map, "kube-system", field_selector="metadata.name=coredns"
        ),
        "probes": of(core.list_namespaced_pod, SYSTEM_NAMESPACE, label_selector=PROBE_SELECTOR),
    }


def _metallb_listings(access: Access) -> dict[str, Callable[[], Any]]:
    from kubernetes.client import CoreV1Api

    core = CoreV1Api(access.client)

    def kind(plural: str) -> Callable[[], Any]:
        from kubernetes.client import CustomObjectsApi

        return lambda: CustomObjectsApi(access.client).list_cluster_custom_object(
            "metallb.io",
            "v1beta1",
            plural,
            _preload_content=False,
            _request_timeout=API_SECONDS,
        )

    def pods(selector: str) -> Callable[[], Any]:
        return lambda: core.list_pod_for_all_namespaces(
            label_selector=selector, _preload_content=False, _request_timeout=API_SECONDS
        )

    return {
        **{plural: kind(plural) for plural in _ITEMS},
        "MetalLB's Pods": pods("app=metallb"),
        "its chart's Pods": pods("app.kubernetes.io/name=metallb"),
    }


def _attempt(listing: Callable[[], Any]) -> tuple[Json, ...] | str:
    """A listing's items; or why there are none to be had."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return tuple(json.loads(listing().data).get("items") or ())
    except ApiException as error:
        return _reason(error)
    except HTTPError as error:
        return str(error)


def _reason(error: Any) -> str:
    """What the API server says in the body of a refusal."""
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, LookupError, TypeError):
        return f"HTTP {error.status} {error.reason}"


def _labelled(pods: tuple[Json, ...], app: str) -> tuple[Json, ...]:
    return tuple(pod for pod in pods if (pod["metadata"].get("labels") or {}).get("k8s-app") == app)


def _read_rules(
    access: Access, namespace: str, name: str
) -> tuple[str, Mapping[str, tuple[ServiceRule, ...] | str]]:
    """kube-proxy's mode, and a Service's rules on every node; or why a node's can't be read."""
    from kubernetes.client.exceptions import ApiException

    from servicelab.cluster.existing import ExistingCluster

    cluster = access.cluster
    try:
        nodes = [node.name for node in cluster.nodes]
    except ApiException as error:
        return "", {"": f"the nodes can't be listed: {_reason(error)}"}
    mode: str = cluster.mode
    if isinstance(cluster, ExistingCluster):
        try:
            mode = cluster.configured_mode()
        except ServicelabError as error:
            return "", dict.fromkeys(nodes, error.problem)

    def of_node(node: str) -> tuple[ServiceRule, ...] | str:
        try:
            return rules_for(node_rules(cluster, node, mode), namespace, name)
        except ServicelabError as error:
            return error.problem

    with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as reading:
        return mode, dict(zip(nodes, reading.map(of_node, nodes), strict=True))


def _read_network(access: Access) -> tuple[dict[str, str], tuple[str, ...]]:
    """The nodes by their MAC addresses, and the ranges of the network they are on."""
    cluster = access.cluster
    if not cluster.ours:
        return {}, ()
    nodes = [node.name for node in cluster.nodes]
    macs: dict[str, str] = {}
    networks: set[str] = set()
    for container in json.loads(cluster.engine.docker("inspect", *nodes)):
        for network, attached in container["NetworkSettings"]["Networks"].items():
            macs[attached["MacAddress"]] = container["Name"].removeprefix("/")
            networks.add(network)
    ranges = [
        each["Subnet"]
        for network in json.loads(cluster.engine.docker("network", "inspect", *sorted(networks)))
        for each in (network.get("IPAM") or {}).get("Config") or ()
    ]
    return macs, tuple(each for each in ranges if ":" not in each)
