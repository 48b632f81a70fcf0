"""The cluster's own name server: ready, or started anew once if it hangs.

A CoreDNS that starts before kube-proxy has written its node's rules opens a connection to the API
server that stays untranslated, also once the rules are there, until its dial times out after 30 s.
A new Pod opens a new connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from servicelab.cache import state_root
from servicelab.vantage.nodes import is_up
from servicelab.verdict import Deadline, NotProved, deadlines
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from servicelab.cluster.kind_cluster import Cluster

NAMESPACE = "kube-system"
COREDNS = "k8s-app=kube-dns"


def wait_until_ready(cluster: Cluster) -> None:
    """Watch CoreDNS until one Pod of it is Ready; delete it once if it runs and does not get there.

    Watched, not asked: while it starts, questions from every node would take the processor that it
    starts with.

    Raises:
        NotProved: none was at the deadline of `cluster_ready`.
    """
    from servicelab.lab.pods import is_ready

    limits = deadlines.current()
    _watch(cluster, is_up, limits.cluster_ready, "CoreDNS to run")
    try:
        _watch(cluster, is_ready, limits.coredns_starts, "CoreDNS to be Ready")
    except NotProved:
        _start_anew(cluster)
        _watch(cluster, is_ready, limits.cluster_ready, "CoreDNS to be Ready")


def _watch(
    cluster: Cluster, satisfies: Callable[[Any], bool], deadline: Deadline, expecting: str
) -> None:
    from kubernetes.client import CoreV1Api

    from servicelab.lab.pods import pods_in_words

    watch_until(
        CoreV1Api(cluster.client).list_namespaced_pod,
        lambda pods: any(satisfies(pod) for pod in pods.values()),
        deadline=deadline,
        expecting=expecting,
        tell=pods_in_words,
        namespace=NAMESPACE,
        label_selector=COREDNS,
    )


def _start_anew(cluster: Cluster) -> None:
    from kubernetes.client import CoreV1Api
    from kubernetes.client.exceptions import ApiException

    core = CoreV1Api(cluster.client)
    said = []
    pods: list[Any] = core.list_namespaced_pod(NAMESPACE, label_selector=COREDNS).items
    for pod in pods:
        try:
            text = core.read_namespaced_pod_log(pod.metadata.name, NAMESPACE)
        except ApiException as error:  # it has not started yet
            text = str(error.reason)
        said.append(f"{pod.metadata.name} on {pod.spec.node_name}\n{text}")
    log = state_root() / "logs" / f"coredns-{cluster.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("\n".join(said))
    cluster.progress.say(f"       CoreDNS hangs and is started anew; it said: {log}")
    core.delete_collection_namespaced_pod(NAMESPACE, label_selector=COREDNS, grace_period_seconds=1)
