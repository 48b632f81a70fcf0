"""What an exercise lets a manifest hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network

from servicelab.errors import UsageError
from servicelab.manifests import ImageReference
from servicelab.pins import pins

_USUAL_KINDS = frozenset(
    {
        ("v1", "ConfigMap"),
        ("v1", "Pod"),
        ("v1", "Service"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
    }
)
#: The kinds that there are rules for.
KINDS = _USUAL_KINDS | {
    ("v1", "Endpoints"),
    ("v1", "ReplicationController"),
    ("v1", "Secret"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
}
_SERVICE_TYPES = frozenset({"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"})
#: Addresses that no machine has, for documentation (RFC 5737 and 3849).
_DOCUMENTATION_NETWORKS = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an exercise lets a manifest hold; everything else is refused.

    Attributes:
        kinds: allowed (apiVersion, kind), of those in `KINDS`.
        images: allowed images, as references; "nginx" and "docker.io/library/nginx" are the same,
            "nginx" and "nginx:1.29" are not.
        service_types: allowed types of Services.
        max_objects: most objects.
        max_pods: most Pods, counted from replicas.
        max_services: most Services.
        max_load_balancers: most Services of type LoadBalancer: each holds an address of the pool.
        max_ports: most ports of one Service.
        node_ports: first and last node port that a Service may ask for; None lets it ask for none.
        chosen_cluster_ip: a Service may ask for a cluster address.
        chosen_load_balancer_ip: a Service may ask for an address of the pool.
        load_balancer_classes: allowed values of loadBalancerClass.
        external_ips: networks that externalIPs may lie in; by default none is allowed.
        endpoint_networks: networks that Endpoints and EndpointSlices may point into.
        external_names: names that an ExternalName may lead to, "*.example.com" for all below one;
            empty for any that does not lead back into the cluster or the machine.
        annotations: allowed annotations with a domain, "domain/*" for all of one domain; beside
            those that only their reader cares for.
        node_choice: Pods may choose nodes (nodeName, nodeSelector, nodeAffinity, tolerations).
        max_job_seconds: most seconds of a Job; it must say how many.
        max_job_pods: most completions and parallelism of a Job.
        max_grace_seconds: most seconds that a Pod may take to end.
        task_namespace: the namespace that the exercise's text names; it stands for the one that the
            manifests are applied in.

    Raises:
        UsageError: it allows what there are no rules for, or names what can't be read.
    """

    kinds: frozenset[tuple[str, str]] = _USUAL_KINDS
    images: frozenset[str] = field(default_factory=lambda: frozenset({pins().agnhost_image}))
    service_types: frozenset[str] = _SERVICE_TYPES
    max_objects: int = 20
    max_pods: int = 12
    max_services: int = 8
    max_load_balancers: int = 2
    max_ports: int = 8
    node_ports: tuple[int, int] | None = (30000, 32767)
    chosen_cluster_ip: bool = False
    chosen_load_balancer_ip: bool = False
    load_balancer_classes: frozenset[str] = frozenset()
    external_ips: tuple[str, ...] = ()
    endpoint_networks: tuple[str, ...] = _DOCUMENTATION_NETWORKS
    external_names: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()
    node_choice: bool = False
    max_job_seconds: int = 120
    max_job_pods: int = 4
    max_grace_seconds: int = 60
    task_namespace: str = ""

    def __post_init__(self) -> None:
        if unknown := sorted(self.kinds - KINDS):
            raise UsageError(
                f"a policy can't allow {' '.join(unknown[0])}: nothing says what may stand in it",
                remedy=f"use {', '.join(' '.join(each) for each in sorted(KINDS))}",
            )
        for image in self.images:
            try:
                ImageReference.parse(image)
            except ValueError as error:
                raise UsageError(f"a policy allows the image {image!r}: {error}") from None
        for network in (*self.external_ips, *self.endpoint_networks):
            try:
                ip_network(network)
            except ValueError as error:
                raise UsageError(f"a policy allows the network {network!r}: {error}") from None

    @classmethod
    def default(cls) -> Policy:
        """What an exercise on Services needs: workloads of the labs' web backend, and Services."""
        return cls()
