"""A cluster that servicelab did not make: asked and used, never rebuilt, switched or deleted.

Its nodes are nobody's containers: what needs them is not asked, and says so. Rules are read in
kube-proxy's own Pods, which have the programs for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from servicelab.cluster.config import ProxyMode
from servicelab.cluster.context import client_of_context
from servicelab.cluster.kind_cluster import Cluster, as_mode
from servicelab.cluster.node import Node
from servicelab.cluster.proxy_mode import CONFIG_MAP, NAMESPACE, SELECTOR, mode_reported
from servicelab.errors import InfrastructureError, NotAsked, UsageError
from servicelab.host import ProcessIdentity, process_identity
from servicelab.progress import Progress
from servicelab.verdict import NotProved, deadlines, eventually

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from kubernetes.dynamic import DynamicClient

    from servicelab.vantage import NodeVantage

API_SECONDS = 10.0  # for the first answer; a cluster far away takes a second
MADE_BY = "servicelab/made-by"
_READERS = {"iptables-save", "nft", "ipset", "cat", "conntrack"}  # they only print


class ExistingCluster(Cluster):
    """A cluster by a context of a kubeconfig.

    Args:
        context: the context's name.
        kubeconfig: the file with it; by default where kubectl looks.
        kubectl_path: kubectl binary; by default the one on PATH.
        registry: where its nodes pull servicelab's images from, HOST[:PORT][/PROJECT]; None leaves
            their names as they are.
        owner: the process that what is made there is named after; by default this one.
    """

    ours = False

    def __init__(
        self,
        context: str,
        kubeconfig: Path | None = None,
        *,
        kubectl_path: Path | None = None,
        registry: str | None = None,
        owner: ProcessIdentity | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(
            context, kubeconfig, kubectl_path=kubectl_path, owner=owner, progress=progress
        )
        self.context = context
        self.registry = registry
        self._kubeconfig = kubeconfig

    # Life.

    def create(self, config_file: str | Path | None = None) -> None:
        """Put the probes onto its nodes, and prove that each reaches a Service and the DNS.

        Raises:
            UsageError: there is no such context, or its nodes run in no mode that is known.
            InfrastructureError: it does not answer, or the probes do not run.
        """
        self.mode = self.configured_mode()
        with self.progress.step(f"starting probes on the nodes of {self.context}"):
            self._start_probes()
            self._wait_for_probes()
        with self.progress.step(f"proving {self.context} ready ({self.mode})"):
            self._prove()
        reported = {vantage.name: mode_reported(vantage) for vantage in self.node_vantages}
        if wrong := {node: mode for node, mode in reported.items() if mode != self.mode}:
            said = ", ".join(f"{node} {mode or 'nothing'}" for node, mode in wrong.items())
            raise InfrastructureError(
                f"kube-proxy's configuration says {self.mode}, but of its mode report: {said}",
                remedy="restart kube-proxy's Pods so that all run in one mode",
            )

    def configured_mode(self) -> ProxyMode:
        """The proxy mode that its kube-proxy is configured for.

        Raises:
            UsageError: there is no such context.
            InfrastructureError: it does not answer, or has no kube-proxy.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            found = self._core.read_namespaced_config_map(
                CONFIG_MAP, NAMESPACE, _request_timeout=API_SECONDS
            )
        except HTTPError as error:
            raise InfrastructureError(
                f"the cluster of context {self.context} does not answer: {error}",
                remedy=f"see `kubectl --context {self.context} cluster-info`",
            ) from None
        except ApiException as error:
            raise InfrastructureError(
                f"the proxy mode of {self.context} is not known: its ConfigMap {NAMESPACE}/"
                f"{CONFIG_MAP} can't be read ({error.reason})",
                remedy="servicelab needs a cluster whose Services are kube-proxy's",
            ) from None
        configured = yaml.safe_load(found.data["config.conf"]).get("mode") or "iptables"
        return as_mode(configured)

    def delete(self) -> None:
        """Nothing: what servicelab did not make, it does not delete."""

    def release(self) -> None:
        """Take the probes away, if this run's process made them."""
        from kubernetes.client import ApiException

        from servicelab.vantage.nodes import SYSTEM_NAMESPACE

        self.close()
        try:
            namespace = self._core.read_namespace(SYSTEM_NAMESPACE)
        except ApiException as error:
            if error.status == 404:
                return
            raise
        if (namespace.metadata.annotations or {}).get(MADE_BY) == self._signature:
            self._core.delete_namespace(SYSTEM_NAMESPACE)

    # Asking it.

    @cached_property
    def client(self) -> ApiClient:
        """The official Kubernetes client, for the context.

        Raises:
            UsageError: there is no such file or context.
        """
        return client_of_context(self.context, self._kubeconfig)

    @cached_property
    def api(self) -> Any:
        """pykube's HTTPClient, as pytest-kind has it."""
        import pykube

        file = self._kubeconfig or Path(os.environ.get("KUBECONFIG", "~/.kube/config")).expanduser()
        config = pykube.KubeConfig.from_file(file)
        config.set_current_context(self.context)
        return pykube.HTTPClient(config)

    @cached_property
    def nodes(self) -> list[Node]:
        """The cluster's nodes, control plane first."""
        return [Node(each.name, each.ip, each.role) for each in self.node_vantages]

    @property
    def node_vantages(self) -> list[NodeVantage]:
        """One vantage point a node, in its own network; the same order as `nodes`."""
        from servicelab.vantage.nodes import node_vantages

        if not self._vantages:
            self._vantages = list(node_vantages(self.client.configuration).values())
        return self._vantages

    def kubectl(self, *args: str, **kwargs: Any) -> str:
        """Run kubectl against the context and return what it printed.

        Raises:
            subprocess.CalledProcessError: kubectl ended with an error.
            UsageError: there is no kubectl.
        """
        where = ["--kubeconfig", str(self._kubeconfig)] if self._kubeconfig else []
        argv = [str(self.kubectl_path), "--context", self.context, *where, *args]
        return str(subprocess.check_output(argv, encoding="utf-8", **kwargs))

    @property
    def kubectl_path(self) -> Path:
        """The kubectl binary: the one that was named, else the one on PATH."""
        found = self._kubectl_path or shutil.which("kubectl")
        if not found:
            raise UsageError(
                "there is no kubectl on PATH", remedy="name one with --kind-kubectl-bin"
            )
        return Path(found)

    def docker_exec(self, node: str, *argv: str, input: str | None = None) -> str:
        """Read a node's rules in its kube-proxy's Pod; anything else is not asked.

        Raises:
            NotAsked: the command does more than print rules.
            InfrastructureError: the node has no kube-proxy Pod, or the command fails there.
        """
        if argv[0] not in _READERS or input is not None:
            self._not_asked(f"`{' '.join(argv)}` on the node {node}")
        from kubernetes.client import ApiClient, ApiException, CoreV1Api
        from kubernetes.stream import stream

        pods = self._core.list_namespaced_pod(
            NAMESPACE, label_selector=SELECTOR, field_selector=f"spec.nodeName={node}"
        ).items
        if not pods:
            raise InfrastructureError(
                f"the node {node} has no kube-proxy Pod ({SELECTOR} in {NAMESPACE}), in which its "
                "rules could be read"
            )
        # A client of its own: `stream` changes the client that it is given.
        core = CoreV1Api(ApiClient(self.client.configuration))
        try:
            answer = stream(
                core.connect_get_namespaced_pod_exec,
                pods[0].metadata.name,
                NAMESPACE,
                command=list(argv),
                stdout=True,
                stderr=True,
                stdin=False,
                tty=False,
                _preload_content=False,
            )
            answer.run_forever(timeout=API_SECONDS)
        except ApiException as error:
            raise InfrastructureError(
                f"`{' '.join(argv)}` can't be run in {NAMESPACE}/{pods[0].metadata.name}: "
                f"{error.reason}",
                remedy="the account needs pods/exec in kube-system",
            ) from None
        if answer.returncode != 0:
            raise InfrastructureError(
                f"`{' '.join(argv)}` on {node} ended with {answer.returncode}: "
                f"{answer.read_stderr().strip()}"
            )
        return str(answer.read_stdout())

    # What is not asked of it.

    @property
    def engine(self) -> NoReturn:
        """Its nodes are in nobody's engine."""
        self._not_asked("what needs its nodes as containers")

    @property
    def bundle(self) -> NoReturn:
        """Its images are its own."""
        self._not_asked("what needs images of servicelab's own in a container")

    @property
    def extras(self) -> NoReturn:
        """As `bundle`."""
        self._not_asked("what needs images of servicelab's own in a container")

    def outside(self) -> NoReturn:
        """No host beside it is ours."""
        self._not_asked("a host outside, beside its nodes")

    def load_archive(self, archive: Path) -> NoReturn:
        """Its nodes pull their images."""
        self._not_asked("loading an image into its nodes")

    def load_docker_image(self, docker_image: str) -> NoReturn:
        """Its nodes pull their images."""
        self._not_asked("loading an image into its nodes")

    def switch_mode(
        self, mode: ProxyMode, *, scheduler: str | None = None, strict_arp: bool | None = None
    ) -> None:
        """Nothing if the mode is in force; else it is not asked."""
        if mode != self.mode or scheduler is not None or strict_arp is not None:
            self._not_asked(f"{mode} mode, since it runs in {self.mode} mode and is not switched")

    def check_may_disrupt(self) -> None:
        """Nothing on it is taken away, not even for a while.

        Raises:
            NotAsked: always.
        """
        self._not_asked("what takes something away from the whole cluster for a while")

    def _not_asked(self, what: str) -> NoReturn:
        raise NotAsked(f"not asked of {self.context}, which servicelab did not make: {what}")

    # Small pieces.

    @property
    def _core(self) -> Any:
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self.client)

    @property
    def _signature(self) -> str:
        return f"{os.uname().nodename}/{(self._owner or process_identity()).pid}"

    def _start_probes(self) -> None:
        from kubernetes.client import ApiException

        from servicelab.vantage.nodes import NODE_PROBES

        documents = self.localised(list(yaml.safe_load_all(NODE_PROBES)))
        for document in documents:
            metadata = document["metadata"]
            if document["kind"] == "Namespace":
                metadata["annotations"] = {MADE_BY: self._signature}
                try:
                    self._core.create_namespace(document)
                except ApiException as error:
                    if error.status != 409:  # it is there: somebody else's, who takes it away
                        raise
                continue
            dynamic: DynamicClient = self.dynamic
            dynamic.resources.get(
                api_version=document["apiVersion"], kind=document["kind"]
            ).server_side_apply(
                body=document,
                name=metadata["name"],
                namespace=metadata["namespace"],
                field_manager="servicelab",
                force_conflicts=True,
            )

    def _wait_for_probes(self) -> None:
        from servicelab.lab.pods import is_ready, pods_in_words
        from servicelab.vantage.nodes import PROBE_SELECTOR, SYSTEM_NAMESPACE

        def probes() -> dict[str, Any]:
            listed = self._core.list_namespaced_pod(SYSTEM_NAMESPACE, label_selector=PROBE_SELECTOR)
            return {pod.metadata.name: pod for pod in listed.items}

        wanted = len(self._core.list_node().items)
        try:
            eventually(
                probes,
                lambda pods: sum(is_ready(pod) for pod in pods.values()) >= wanted,
                deadline=deadlines.current().cluster_ready,
                expecting=f"a probe on each of the {wanted} nodes",
                tell=pods_in_words,
            )
        except NotProved as error:
            raise InfrastructureError(
                f"the probes do not run on {self.context}: {error}",
                remedy="if it is their image that can't be pulled: `servicelab images push "
                "REGISTRY`, then name it with --registry REGISTRY",
            ) from None
