"""Does a cluster do its work, all of it: from a Deployment to the rules on every node?

After the API server was away, each controller, kubelet and kube-proxy comes back at its own pace:
they wait ever longer between two tries, up to twice as long as it was away. A cluster that answers
may still take half a minute for what takes a second otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from servicelab.errors import InfrastructureError
from servicelab.lab.lab import Lab
from servicelab.vantage.pods import client_pod_manifest
from servicelab.verdict import NotProved, deadlines

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

NAME = "canary"
#: Everything may take longer by this, because somebody must notice first that the API is back.
_PATIENCE = 4


def prove_working(cluster: Cluster) -> None:
    """Have a Pod of a new Deployment run on every node, and their Service in every node's rules.

    So the namespace, Deployment, ReplicaSet, ServiceAccount and EndpointSlice controllers, the
    scheduler, and each node's kubelet and kube-proxy have done something new.

    Raises:
        InfrastructureError: one of them has not; says what is missing.
    """
    try:
        with deadlines.multiplied(_PATIENCE):
            lab = Lab(cluster, Path(), NAME)
            try:
                lab.apply_documents(documents(len(cluster.nodes)))
                lab.service(NAME).settles_on(lab.ready_pods(f"app={NAME}", len(cluster.nodes)))
            finally:
                lab.close()
    except NotProved as error:
        raise InfrastructureError(
            f"the cluster {cluster.name} does not do its work: {error}",
            remedy="see the logs of kube-controller-manager and kube-proxy",
        ) from None


def documents(nodes: int) -> list[dict[str, Any]]:
    """A Deployment with one Pod on each node, tainted or not, and a Service in front of it."""
    labels = {"app": NAME}
    apart = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    spec = {
        **client_pod_manifest(NAME, "")["spec"],
        "tolerations": [{"operator": "Exists"}],
        "affinity": {
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": nodes,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"selector": labels, "ports": [{"port": 80}]},
    }
    return [deployment, service]
