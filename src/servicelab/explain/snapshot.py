"""What the cluster shows of one Service at one moment: objects, and rules in the nodes' kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from servicelab.explain.objects import (
    Json,
    ServicePort,
    addresses_of,
    is_going,
    is_over,
    is_ready,
    labels_of,
    matches,
    name_of,
    service_ports,
    target_number,
)
from servicelab.observe.endpoints import SERVICE_LABEL, Endpoint, endpoints_of
from servicelab.observe.model import ServiceRule

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
HEADLESS = "None"


@dataclass(frozen=True)
class MetalLB:
    """MetalLB's objects.

    Attributes:
        pools: IPAddressPools.
        l2: L2Advertisements.
        bgp: BGPAdvertisements.
        announcers: ServiceL2Statuses, in which the announcing speakers write themselves down.
        pods: the controller's Pod and the speakers'.
        known: whether the API server knows MetalLB's kinds.
    """

    pools: tuple[Json, ...] = ()
    l2: tuple[Json, ...] = ()
    bgp: tuple[Json, ...] = ()
    announcers: tuple[Json, ...] = ()
    pods: tuple[Json, ...] = ()
    known: bool = False


@dataclass(frozen=True)
class Snapshot:
    """One Service, and everything that its layers are read from. All objects are JSON.

    Attributes:
        service: the Service.
        pods: every Pod of its namespace.
        slices: every EndpointSlice of its namespace.
        events: the events of its namespace.
        policies: the NetworkPolicies of its namespace.
        workloads: Deployments, ReplicaSets, StatefulSets and DaemonSets of its namespace.
        nodes: the cluster's nodes.
        proxies: kube-proxy's Pods.
        dns_service: the cluster DNS' Service; None if there is none.
        dns_pods: CoreDNS' Pods.
        domain: the cluster's DNS domain.
        metallb: MetalLB's objects; looked at for a LoadBalancer only.
        probes: the Pods that nodes are asked from.
        rules: the Service's rules in each node's kernel; or, in words, why they can't be read.
        mode: kube-proxy's mode; "" if it is not known.
        macs: the node that each MAC address of the cluster's network belongs to.
        subnets: the ranges of the cluster's network.
        refused: what could not be read from the API, and why.
    """

    service: Json
    pods: tuple[Json, ...] = ()
    slices: tuple[Json, ...] = ()
    events: tuple[Json, ...] = ()
    policies: tuple[Json, ...] = ()
    workloads: tuple[Json, ...] = ()
    nodes: tuple[Json, ...] = ()
    proxies: tuple[Json, ...] = ()
    dns_service: Json | None = None
    dns_pods: tuple[Json, ...] = ()
    domain: str = "cluster.local"
    metallb: MetalLB = field(default_factory=MetalLB)
    probes: tuple[Json, ...] = ()
    rules: Mapping[str, tuple[ServiceRule, ...] | str] = field(default_factory=dict)
    mode: str = ""
    macs: Mapping[str, str] = field(default_factory=dict)
    subnets: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    # The Service itself.

    @property
    def namespace(self) -> str:
        """The Service's namespace."""
        return str(self.service["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """The Service's name."""
        return name_of(self.service)

    def __str__(self) -> str:
        return f"Service {self.namespace}/{self.name}"

    @property
    def type(self) -> str:
        """ClusterIP, NodePort, LoadBalancer or ExternalName."""
        return str(self.service["spec"].get("type") or "ClusterIP")

    @property
    def selector(self) -> Mapping[str, str]:
        """The labels that its Pods must have; empty if it has no selector."""
        return self.service["spec"].get("selector") or {}

    @cached_property
    def ports(self) -> tuple[ServicePort, ...]:
        """Its ports."""
        return service_ports(self.service)

    @property
    def cluster_ips(self) -> tuple[str, ...]:
        """Its virtual addresses; none if it is headless or has an external name."""
        spec = self.service["spec"]
        given = spec.get("clusterIPs") or [spec.get("clusterIP")]
        return tuple(each for each in given if each and each != HEADLESS)

    @property
    def is_headless(self) -> bool:
        """It has Pods, but no address of its own."""
        return bool(self.service["spec"].get("clusterIP") == HEADLESS)

    @property
    def is_external_name(self) -> bool:
        """It is a name for another name."""
        return self.type == "ExternalName"

    @property
    def publishes_not_ready(self) -> bool:
        """It lists Pods that are not ready, too."""
        return bool(self.service["spec"].get("publishNotReadyAddresses"))

    @property
    def load_balancer_ips(self) -> tuple[str, ...]:
        """The addresses that a load balancer gave it."""
        status = (self.service.get("status") or {}).get("loadBalancer") or {}
        return tuple(each["ip"] for each in status.get("ingress") or () if each.get("ip"))

    def is_local(self, kind: str) -> bool:
        """Whether traffic to an address of this kind stays on the node that it comes to."""
        policy = "internalTrafficPolicy" if kind == "cluster" else "externalTrafficPolicy"
        return bool(self.service["spec"].get(policy) == "Local")

    @property
    def dns_name(self) -> str:
        """Its full name in the cluster DNS."""
        return f"{self.name}.{self.namespace}.svc.{self.domain}"

    # The Pods behind it.

    @cached_property
    def candidates(self) -> tuple[Json, ...]:
        """The namespace's Pods that may be a Service's: neither over nor being deleted."""
        return tuple(pod for pod in self.pods if not is_over(pod) and not is_going(pod))

    @cached_property
    def selected(self) -> tuple[Json, ...]:
        """Those of them that the selector matches."""
        if not self.selector:
            return ()
        return tuple(pod for pod in self.candidates if matches(self.selector, labels_of(pod)))

    @cached_property
    def past(self) -> tuple[Json, ...]:
        """The Pods that the selector matches and that are over, or on their way out."""
        return tuple(
            pod
            for pod in self.pods
            if pod not in self.candidates and matches(self.selector, labels_of(pod))
        )

    @cached_property
    def members(self) -> tuple[Json, ...]:
        """Those of them that are to get traffic."""
        return tuple(pod for pod in self.selected if self.publishes_not_ready or is_ready(pod))

    def pod_at(self, ip: str) -> Json | None:
        """The Pod that has an address."""
        return next((pod for pod in self.candidates if ip in addresses_of(pod)), None)

    # Its endpoints.

    @cached_property
    def own_slices(self) -> tuple[Json, ...]:
        """The EndpointSlices that say they are this Service's."""
        return tuple(
            each for each in self.slices if labels_of(each).get(SERVICE_LABEL) == self.name
        )

    @cached_property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """What they list, ready or not."""
        return endpoints_of(self.own_slices)

    @cached_property
    def hinted(self) -> bool:
        """Whether endpoints are meant for some nodes or zones only."""
        return any(
            endpoint.get("hints")
            for each in self.own_slices
            for endpoint in each.get("endpoints") or ()
        )

    def ready_for(self, port: ServicePort) -> tuple[Endpoint, ...]:
        """The endpoints that a port's traffic goes to, on whichever node.

        Without a ready one, those that still serve while they terminate.
        """
        ours = [
            each
            for each in self.endpoints
            if (each.port_name, each.protocol) == (port.name, port.protocol)
            and each.port is not None
        ]
        ready = tuple(each for each in ours if each.ready)
        return ready or tuple(each for each in ours if each.serving and each.terminating)

    def wanted_for(self, port: ServicePort) -> set[str]:
        """The endpoints that the Pods ask for, each as ip:port: what the slices should list."""
        found = set()
        for pod in self.members:
            number = target_number(port, pod)
            if number is not None:
                found |= {f"{ip}:{number}" for ip in addresses_of(pod) if self.takes(ip)}
        return found

    def takes(self, ip: str) -> bool:
        """Whether an address is of a family that the Service has."""
        families = self.service["spec"].get("ipFamilies") or ("IPv4",)
        return ("IPv6" if ":" in ip else "IPv4") in families

    @property
    def node_names(self) -> tuple[str, ...]:
        """Every node of the cluster."""
        return tuple(name_of(node) for node in self.nodes)
