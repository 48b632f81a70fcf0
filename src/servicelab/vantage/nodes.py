"""Each node as a place to ask from, with the node's own network and resolver."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from servicelab.pins import pins
from servicelab.vantage.channel import Channel, ChannelBroken
from servicelab.vantage.vantage import Vantage

if TYPE_CHECKING:
    from kubernetes.client import Configuration

SYSTEM_NAMESPACE = "servicelab-system"
PROBE_SELECTOR = "app.kubernetes.io/name=probe-node"
API_SECONDS = 10.0
"""Deadline for one answer of the API server; it takes milliseconds, seconds while it starts."""


def _manifest() -> str:
    text = resources.files("servicelab.vantage").joinpath("system.yaml").read_text("utf-8")
    head, found, tail = text.rpartition("image: PROBE_IMAGE\n")
    assert found, "system.yaml names no image"
    return f"{head}image: {pins().probe_image}\n{tail}"


NODE_PROBES = _manifest()
"""YAML that puts a probe on each node: a namespace, a ServiceAccount, a DaemonSet."""


class NodeVantage(Vantage):
    """A node, asked from by the probe Pod in its network.

    The Pod is looked for when a channel opens, so this may be made before the Pod runs (questions
    are ChannelBroken until then) and outlives it.

    Args:
        configuration: of the Kubernetes client.
        node: the node's name, which is the vantage point's name too.
        ip: its IPv4 address, else IPv6.
        role: "control-plane" or "worker".
    """

    def __init__(self, configuration: Configuration, node: str, ip: str, role: str) -> None:
        super().__init__(node, self._channel)
        self._configuration = configuration
        self.ip = ip
        self.role = role

    def url(self, port: int, path: str = "/") -> str:
        """An HTTP URL on this node."""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"http://{host}:{port}{path}"

    def _channel(self) -> Channel:
        from servicelab.vantage.pod_channel import PodChannel

        return PodChannel(self._configuration, SYSTEM_NAMESPACE, self._probe_pod())

    def _probe_pod(self) -> str:
        """Name of the probe Pod that runs on this node."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            pods = (
                _core(self._configuration)
                .list_namespaced_pod(
                    SYSTEM_NAMESPACE,
                    label_selector=PROBE_SELECTOR,
                    field_selector=f"spec.nodeName={self.name}",
                    _request_timeout=API_SECONDS,
                )
                .items
            )
        except (ApiException, HTTPError) as error:
            reason = getattr(error, "reason", None) or error
            raise ChannelBroken(
                f"the API server does not say where {self.name}'s probe is: {reason}"
            ) from error
        for pod in pods:
            if is_up(pod):
                return str(pod.metadata.name)
        seen = ", ".join(f"{pod.metadata.name} {pod.status.phase}" for pod in pods)
        raise ChannelBroken(
            f"no probe runs on {self.name} ({seen or 'it has no probe Pod'})",
            remedy=f"see: kubectl -n {SYSTEM_NAMESPACE} describe daemonset probe-node",
        )


def is_up(pod: Any) -> bool:
    """Whether a probe Pod runs, and is not being deleted."""
    return bool(pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None)


def node_vantages(configuration: Configuration) -> dict[str, NodeVantage]:
    """A vantage point for each node that the API server knows, by name, control plane first.

    Raises:
        kubernetes.client.ApiException: the API server refuses to list nodes.
    """
    found = []
    for node in _core(configuration).list_node(_request_timeout=API_SECONDS).items:
        internal = [
            each.address for each in node.status.addresses or () if each.type == "InternalIP"
        ]
        ip = min(internal, key=lambda address: ":" in address, default="")
        labels = node.metadata.labels or {}
        role = "worker"
        if "node-role.kubernetes.io/control-plane" in labels:
            role = "control-plane"
        found.append(NodeVantage(configuration, node.metadata.name, ip, role))
    found.sort(key=lambda vantage: (vantage.role != "control-plane", vantage.name))
    return {vantage.name: vantage for vantage in found}


def _core(configuration: Configuration) -> Any:
    from kubernetes.client import ApiClient, CoreV1Api

    return CoreV1Api(ApiClient(configuration))
