"""A Pod as a place to ask from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from servicelab.pins import pins
from servicelab.vantage.channel import PROBE_ARGV, Channel
from servicelab.vantage.vantage import Vantage

if TYPE_CHECKING:
    from kubernetes.client import Configuration

NOBODY = 65532
"""The user that client Pods run as; any but root would do."""


class PodVantage(Vantage):
    """A Pod that runs the probe image's `idle` role, in any namespace.

    Args:
        configuration: of the Kubernetes client.
        namespace: the Pod's.
        pod: its name.
        container: the one with the probe; None if the Pod has only one.

    Attributes:
        namespace: the Pod's.
        pod: its name.
    """

    def __init__(
        self, configuration: Configuration, namespace: str, pod: str, container: str | None = None
    ) -> None:
        from servicelab.vantage.pod_channel import PodChannel

        def channel() -> Channel:
            return PodChannel(configuration, namespace, pod, container)

        super().__init__(f"Pod {namespace}/{pod}", channel)
        self.namespace = namespace
        self.pod = pod


def client_pod_manifest(
    name: str,
    namespace: str,
    *,
    node: str | None = None,
    labels: Mapping[str, str] | None = None,
    image: str | None = None,
) -> dict[str, Any]:
    """A Pod to ask from; it satisfies the `restricted` Pod Security standard.

    Args:
        name: the Pod's.
        namespace: the Pod's.
        node: where it runs, tainted or not; None leaves that to the scheduler.
        labels: further labels; none of ours is one that a lab's Service selects.
        image: the probe image; by default the pinned one.
    """
    spec: dict[str, Any] = {
        # The Service variables of the environment would grow with the number of Services.
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "client",
                "image": image or pins().probe_image,
                "imagePullPolicy": "IfNotPresent",
                "command": [*PROBE_ARGV, "idle"],
                "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
    if node is not None:
        spec["nodeName"] = node
        spec["tolerations"] = [{"operator": "Exists"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/managed-by": "servicelab",
                "servicelab/role": "client",
                **(labels or {}),
            },
        },
        "spec": spec,
    }
