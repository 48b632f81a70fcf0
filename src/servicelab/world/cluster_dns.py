"""The cluster's own DNS, led to the world's name server and back.

CoreDNS reads its Corefile from a ConfigMap. Left alone, a change takes up to two minutes: the
kubelet renews the file when it next looks after the Pod (1 min), CoreDNS looks at the file every
30 s. So the kubelet is made to look, by a change of the Pod's annotations, and CoreDNS is told to
load the file anew by SIGUSR1, which it does without losing a question.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError
from servicelab.verdict import NotProved, deadlines, eventually
from servicelab.world.corefile import forwards_to, with_forwarding, without_forwarding

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

NAMESPACE = "kube-system"
CONFIG_MAP = "coredns"
PODS = "k8s-app=kube-dns"
ANNOTATION = "servicelab/corefile"
VOLUME = "volumes/kubernetes.io~configmap/config-volume/Corefile"


class ClusterDns:
    """A cluster's CoreDNS.

    Args:
        cluster: the cluster.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @property
    def _core(self) -> Any:  # the client's models are all optional fields
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self._cluster.client)

    def forwards_to(self) -> str | None:
        """The world's name server that the Corefile leads to; None if it leads to none."""
        return forwards_to(self._corefile())

    def forward(self, zones: Sequence[str], server: str) -> None:
        """Ask a name server for some zones.

        Args:
            zones: names of zones.
            server: the name server's IP address.

        Raises:
            InfrastructureError: CoreDNS did not take it up within `world_stands`.
        """
        self._change(lambda text: with_forwarding(text, zones, server))

    def put_back(self) -> None:
        """Ask as before; nothing if nothing was changed.

        Raises:
            InfrastructureError: CoreDNS did not take it up within `world_stands`.
        """
        self._change(without_forwarding)

    def pods(self) -> list[Any]:
        """The Pods of CoreDNS that run."""
        listed = self._core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items
        return [
            pod
            for pod in listed
            if pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None
        ]

    def _corefile(self) -> str:
        found = self._core.read_namespaced_config_map(CONFIG_MAP, NAMESPACE)
        return str(found.data["Corefile"])

    def _change(self, edit: Callable[[str], str]) -> None:
        text = self._corefile()
        wanted = edit(text)
        if wanted == text:
            return
        self._core.patch_namespaced_config_map(
            CONFIG_MAP, NAMESPACE, {"data": {"Corefile": wanted}}
        )
        pods = self.pods()
        try:
            with ThreadPoolExecutor(max_workers=max(1, len(pods))) as waiting:
                list(waiting.map(lambda pod: self._load(pod, wanted), pods))
        except NotProved as error:
            raise InfrastructureError(
                f"CoreDNS of {self._cluster.name} does not take up its Corefile: {error}",
                remedy=f"see: kubectl -n {NAMESPACE} logs -l {PODS}",
            ) from error

    def _load(self, pod: Any, wanted: str) -> None:
        node, name = pod.spec.node_name, pod.metadata.name
        file = f"/var/lib/kubelet/pods/{pod.metadata.uid}/{VOLUME}"

        def mounted() -> bool:
            if self._cluster.docker_exec(node, "cat", file) == wanted:
                return True
            self._annotate(name, uuid.uuid4().hex)
            return False

        eventually(
            mounted,
            bool,
            deadline=deadlines.current().world_stands,
            expecting=f"the kubelet of {node} to give Pod {name} the new Corefile",
            every=0.1,
        )
        self._cluster.docker_exec(node, "pkill", "-USR1", "-x", "coredns")
        self._annotate(name, None)

    def _annotate(self, pod: str, value: str | None) -> None:
        note = {"metadata": {"annotations": {ANNOTATION: value}}}
        self._core.patch_namespaced_pod(pod, NAMESPACE, note)
