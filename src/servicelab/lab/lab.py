"""A lab: a namespace of its own, what the tutorial does in it, and places to ask from."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servicelab.lab.faults import NO_FAULT, Fault
from servicelab.lab.listening import until_listening
from servicelab.lab.manifests import Document, parse_manifest, read_manifest
from servicelab.lab.namespace import create_namespace, namespace_name
from servicelab.lab.node_ports import apply_when_free, fixes_a_number
from servicelab.lab.pods import LabPod, is_going, is_ready, lab_pod, pods_in_words
from servicelab.lab.service import Service
from servicelab.vantage.pods import PodVantage, client_pod_manifest
from servicelab.verdict import Missing, deadlines
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from kubernetes.client import AppsV1Api, CoreV1Api, DiscoveryV1Api
    from kubernetes.dynamic import DynamicClient

    from servicelab.cluster import Cluster, Node
    from servicelab.cluster.api_server import Restart
    from servicelab.lab.kube_proxy import KubeProxy
    from servicelab.observe.model import ServiceRule

FIELD_MANAGER = "servicelab"


class Lab:
    """One test's place in the cluster.

    Args:
        cluster: where it lives.
        folder: where its manifests stand.
        title: what its namespace is named after, e.g. "clusterip-cip-03".
        fault: what is wrong in it, while its claim is refuted.
        namespace: one that stands already, and is another's to remove; None makes one.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        title: str,
        fault: Fault | None = None,
        *,
        namespace: str | None = None,
    ) -> None:
        self.cluster = cluster
        self.folder = folder
        self.fault = fault or NO_FAULT
        self.namespace = namespace or namespace_name(title)
        self._clients: list[PodVantage] = []
        self._others: list[Lab] = []
        self._fixes_node_ports = False
        self.also_kept: dict[str, Callable[[], str]] = {}
        self._closing = ExitStack()
        self._owns_namespace = namespace is None
        if self._owns_namespace:
            create_namespace(self.core, self.namespace)

    # The API, by group.

    @cached_property
    def core(self) -> CoreV1Api:
        """Pods, Services, namespaces."""
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self.cluster.client)

    @cached_property
    def apps(self) -> AppsV1Api:
        """Deployments, StatefulSets."""
        from kubernetes.client import AppsV1Api

        return AppsV1Api(self.cluster.client)

    @cached_property
    def discovery(self) -> DiscoveryV1Api:
        """EndpointSlices."""
        from kubernetes.client import DiscoveryV1Api

        return DiscoveryV1Api(self.cluster.client)

    @property
    def _dynamic(self) -> DynamicClient:
        return self.cluster.dynamic

    # What the tutorial does.

    def apply(self, *files: str) -> None:
        """Apply manifests that stand beside the test, in this namespace.

        Raises:
            UsageError: a file is missing or holds no objects.
            kubernetes.client.ApiException: the API server refuses one; says why.
        """
        self.apply_documents(
            [document for file in files for document in read_manifest(self.folder / file)]
        )

    def apply_text(self, text: str) -> None:
        """Apply objects given as YAML; as `apply`."""
        self.apply_documents(parse_manifest(text, "the text"))

    def apply_documents(self, documents: list[Document]) -> None:
        """Apply objects (server-side, so that it creates or changes); as `apply`.

        Raises:
            UsageError: a Service that is no lab's holds a node port that one of them fixes.
        """
        for document in self.cluster.localised(self.fault.documents(documents)):
            resource = self._dynamic.resources.get(
                api_version=document["apiVersion"], kind=document["kind"]
            )
            apply = partial(
                resource.server_side_apply,
                body=document,
                name=document["metadata"]["name"],
                namespace=self.namespace,
                field_manager=FIELD_MANAGER,
                force_conflicts=True,
            )
            if fixes_a_number(document):
                self._fixes_node_ports = True
                apply_when_free(apply, self.core)
            else:
                apply()
        self.fault.after_apply(self)

    def label(self, pod: LabPod | str, **labels: str | None) -> None:
        """Set labels of a Pod, as `kubectl label --overwrite` does; None removes one."""
        name = pod if isinstance(pod, str) else pod.name
        if not self._instead("label", name, **labels):
            self.core.patch_namespaced_pod(name, self.namespace, {"metadata": {"labels": labels}})

    def scale(self, deployment: str, replicas: int) -> None:
        """Set a Deployment's number of replicas."""
        if not self._instead("scale", deployment, replicas):
            self.apps.patch_namespaced_deployment_scale(
                deployment, self.namespace, {"spec": {"replicas": replicas}}
            )

    def patch_service(self, service: str, **spec: Any) -> None:
        """Change fields of a Service's spec, given as the API names them."""
        if not self._instead("patch_service", service, **spec):
            self.core.patch_namespaced_service(service, self.namespace, {"spec": spec})

    def delete_pod(self, pod: LabPod | str, *, grace_seconds: int | None = None) -> None:
        """Delete a Pod; with 0 seconds of grace it is killed."""
        name = pod if isinstance(pod, str) else pod.name
        if not self._instead("delete_pod", name):
            self.core.delete_namespaced_pod(
                name, self.namespace, grace_period_seconds=grace_seconds
            )

    def delete_service(self, service: str) -> None:
        """Delete a Service."""
        if not self._instead("delete_service", service):
            self.core.delete_namespaced_service(service, self.namespace)

    def _instead(self, verb: str, *args: Any, **kwargs: Any) -> bool:
        """Let the fault do something else than a verb; whether it did."""
        other: Callable[..., Any] | None = self.fault.instead.get(verb)
        if other is None:
            return False
        other(self, *args, **kwargs)
        return True

    @contextmanager
    def api_server_flags(self, **flags: str) -> Iterator[Restart]:
        """Let the API server run with other flags for a while: `service_node_port_range="…"`.

        Only in a test marked `disruptive`. Gives how long the API server's restart took, once
        controllers and nodes have noticed that it is back.

        Raises:
            InfrastructureError: it did not come back.
        """
        from servicelab.cluster.api_server import changed_flags
        from servicelab.lab.working import prove_working

        if other := self.fault.instead.get("api_server_flags"):
            flags = other(self, **flags)
        wanted = {name.replace("_", "-"): value for name, value in flags.items()}
        with changed_flags(self.cluster, wanted) as restart:
            prove_working(self.cluster)
            yield restart

    @property
    def kube_proxy(self) -> KubeProxy:
        """The cluster's kube-proxy; to be changed only in a test marked `disruptive`."""
        from servicelab.lab.kube_proxy import KubeProxy

        return KubeProxy(self)

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """What a learner's kubectl prints, in this namespace.

        Raises:
            subprocess.CalledProcessError: it failed; `.stderr` says what it printed.
        """
        if other := self.fault.instead.get("kubectl"):
            args, stdin = other(self, *args, stdin=stdin)
        try:
            return self.cluster.kubectl(
                "--namespace", self.namespace, *args, input=stdin, stderr=subprocess.PIPE
            )
        except subprocess.CalledProcessError as error:
            # The exception itself shows only the command and its exit status.
            error.add_note(f"kubectl said: {error.stderr.strip() or 'nothing'}")
            raise

    def kubectl_json(self, *args: str) -> Any:
        """What kubectl prints with `-o json`."""
        return json.loads(self.kubectl(*args, "-o", "json"))

    # What stands there.

    def service(self, name: str) -> Service:
        """A Service of this namespace."""
        return Service(self, name)

    def pods(self, selector: str) -> list[LabPod]:
        """The Pods that a selector matches now, those being deleted left out; by name."""
        listed = self.core.list_namespaced_pod(self.namespace, label_selector=selector).items
        return sorted(
            (lab_pod(pod) for pod in listed if not is_going(pod)), key=lambda pod: pod.name
        )

    def ready_pods(self, selector: str, count: int) -> list[LabPod]:
        """Wait until exactly this many Pods match, all are Ready and their servers listen; by name.

        Raises:
            NotProved: there are not, within `pod_ready`, or a port that a container declares is
                refused, within `pod_listens`; says what each Pod is waiting for.
        """

        def settled(pods: Mapping[str, Any]) -> bool | Missing:
            alive = [pod for pod in pods.values() if not is_going(pod)]
            ready = sum(is_ready(pod) for pod in alive)
            return len(alive) == ready == count or Missing(f"{ready} of {len(alive)} Pods Ready")

        found = watch_until(
            self.core.list_namespaced_pod,
            settled,
            deadline=deadlines.current().pod_ready,
            expecting=f"{count} Ready Pods with {selector} in {self.namespace}",
            tell=pods_in_words,
            namespace=self.namespace,
            label_selector=selector,
        )
        pods = sorted(
            (lab_pod(pod) for pod in found.values() if not is_going(pod)), key=lambda pod: pod.name
        )
        until_listening(pods, self.cluster.node_vantages)
        return pods

    def running_pod(self, name: str) -> LabPod:
        """Wait until a Pod runs, Ready or not, and has an address."""
        found = watch_until(
            self.core.list_namespaced_pod,
            lambda pods: any(
                pod.status.phase == "Running" and bool(pod.status.pod_ip) for pod in pods.values()
            ),
            deadline=deadlines.current().pod_ready,
            expecting=f"Pod {self.namespace}/{name} to run",
            tell=pods_in_words,
            namespace=self.namespace,
            field_selector=f"metadata.name={name}",
        )
        return lab_pod(found[name])

    def rules(self, service: str) -> dict[str, tuple[ServiceRule, ...]]:
        """A Service's rules in the kernel of each node, by node name."""
        from servicelab.observe.model import rules_for
        from servicelab.observe.node_rules import node_rules

        def of_node(node: Node) -> tuple[ServiceRule, ...]:
            found = node_rules(self.cluster, node.name, self.cluster.mode)
            return rules_for(found, self.namespace, service)

        nodes = self.cluster.nodes
        with ThreadPoolExecutor(max_workers=len(nodes)) as asking:
            return dict(zip((node.name for node in nodes), asking.map(of_node, nodes), strict=True))

    def missing_in_sets(self, service: str) -> dict[str, tuple[str, ...]]:
        """What each node's ipsets, and the rules that ask them, still lack for a Service, by node
        name; IPVS mode only."""
        from servicelab.observe.ipvs import IPSETS, NAT_RULES, missing_in_sets

        run = self.cluster.docker_exec
        found: Any = self.core.read_namespaced_service(service, self.namespace)
        local = found.spec.external_traffic_policy == "Local"
        return {
            node: missing_in_sets(rules, run(node, *IPSETS), run(node, *NAT_RULES), local=local)
            for node, rules in self.rules(service).items()
        }

    # Places to ask from.

    def start_client(self, name: str = "client", *, node: str | None = None) -> PodVantage:
        """Begin to start a client Pod, without waiting for it; it can be asked once it runs."""
        manifest = client_pod_manifest(name, self.namespace, node=node)
        self.apply_documents([manifest])
        client = PodVantage(self.cluster.client.configuration, self.namespace, name)
        self._clients.append(client)
        return client

    def client(self, name: str = "client", *, node: str | None = None) -> PodVantage:
        """A client Pod that runs.

        Args:
            name: the Pod's.
            node: where it runs; None leaves that to the scheduler.
        """
        client = self.start_client(name, node=node)
        self.running_pod(name)
        return client

    def other(self, title: str = "other") -> Lab:
        """Another namespace, which goes when this one goes."""
        other = Lab(self.cluster, self.folder, title, self.fault)
        self._others.append(other)
        self.on_close(other._closing.close)
        return other

    @property
    def others(self) -> tuple[Lab, ...]:
        """The other namespaces that go when this one goes."""
        return tuple(self._others)

    def also_keep(self, name: str, say: Callable[[], str]) -> None:
        """Name further evidence, which is kept if the claim fails.

        Args:
            name: of the file, such as "bgp-routes.txt".
            say: gives what it holds, when the test has ended and its namespaces still stand; may
                be called in another thread.
        """
        self.also_kept[name] = say

    # Life.

    def on_close(self, undo: Callable[[], object]) -> None:
        """Do something when the lab ends, last come first: undo what is not in its namespace."""
        self._closing.callback(undo)

    def close(self) -> None:
        """Hang up, and delete the namespaces without waiting; a name is never used again."""
        try:
            self._closing.close()
        finally:
            self._delete_namespaces()

    def _delete_namespaces(self) -> None:
        for lab in (*self._others, self):
            for client in lab._clients:
                client.close()
            if lab._owns_namespace:
                self.cluster.sweep(lab._delete_namespace)
        self._others = []

    def _delete_namespace(self) -> None:
        if self._fixes_node_ports:
            # The namespace waits for its Pods; others wait for these numbers.
            self.core.delete_collection_namespaced_service(self.namespace)
        # First the namespace: once it is going it takes no new Pods. For Pods deleted before it
        # their ReplicaSets made others, half as many again, which started while the next test did.
        # Then the Pods: a grace period would keep the namespace, and its node's work, for longer.
        self.core.delete_namespace(self.namespace)
        self.core.delete_collection_namespaced_pod(self.namespace, grace_period_seconds=0)
