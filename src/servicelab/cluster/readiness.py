"""Ready means proven: a Service round trip and a DNS answer have worked from every node.

The cluster proves itself by the Services it has anyway: `kubernetes` (kube-proxy's rules on that
node, the API server behind them) and `kube-dns` (CoreDNS, its Pod, the Pod network).
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servicelab.cluster.coredns import wait_until_ready
from servicelab.errors import InfrastructureError
from servicelab.vantage.channel import ChannelBroken
from servicelab.verdict import Missing, NotProved, deadlines, eventually
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from servicelab.cluster.kind_cluster import Cluster
    from servicelab.vantage import NodeVantage

CLUSTER_DNS = "10.96.0.10"
KUBERNETES_ADDRESS = "10.96.0.1"
ANSWER_SECONDS = 0.25  # one question's time; an answer takes 1 ms, and it is asked again
NOT_ASKED = "not asked"
KUBERNETES_NAME = "kubernetes.default.svc.cluster.local"
_ADMIN = "--kubeconfig=/etc/kubernetes/admin.conf"


@dataclass(frozen=True, slots=True)
class NodeProof:
    """What one node saw.

    Attributes:
        node: its name.
        service: "" if the API server answered at its Service address, else why not.
        dns: "" if the cluster DNS named that address, else why not.
    """

    node: str
    service: str
    dns: str

    @property
    def holds(self) -> bool:
        """Both worked."""
        return not self.service and not self.dns

    def __str__(self) -> str:
        missing = [
            f"{what}: {why}" for what, why in (("Service", self.service), ("DNS", self.dns)) if why
        ]
        return f"{self.node} {'; '.join(missing) or 'ready'}"


# kubeadm's kube-proxy asks for no processor: a busy control plane gave it 2 shares, the API server
# and its like 670, and it wrote no rule for a minute and a half.
_KUBE_PROXY_SHARE = """\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: kube-proxy
  namespace: kube-system
spec:
  template:
    spec:
      containers:
        - name: kube-proxy
          resources:
            requests:
              cpu: 100m
"""
_APPLY = f"kubectl {_ADMIN} apply --server-side --force-conflicts -f -"
# The Pod that is there already would take its whole 30 s to end.
_ANEW = (
    f"kubectl {_ADMIN} --namespace=kube-system delete pods --selector=k8s-app=kube-proxy "
    "--grace-period=1 --wait=false"
)


def start_probes(cluster: Cluster, *, kube_proxy_share: bool = True) -> None:
    """Apply the node probes by the control plane's own kubectl, before there is a kubeconfig.

    Args:
        cluster: the cluster, whose control plane runs.
        kube_proxy_share: give kube-proxy its share of a processor as well, while only one node has
            a Pod of it.
    """
    from servicelab.vantage.nodes import NODE_PROBES

    manifest, script = NODE_PROBES, _APPLY
    if kube_proxy_share:
        manifest, script = f"{NODE_PROBES}---\n{_KUBE_PROXY_SHARE}", f"{_APPLY} && exec {_ANEW}"
    cluster.docker_exec(f"{cluster.name}-control-plane", "sh", "-c", script, input=manifest)


def import_what_proves() -> None:
    """Import what `prove_ready` needs: over a second of work, best done while kind waits.

    The client's own package loads nothing by itself, the API's class loads all its models.
    """
    import websocket
    from kubernetes import config, watch
    from kubernetes.client import CoreV1Api

    from servicelab.vantage import nodes, pod_channel

    _ = (CoreV1Api, config, nodes, pod_channel, watch, websocket)


def prove_ready(cluster: Cluster) -> list[NodeProof]:
    """Wait until every node has seen a Service and a DNS answer.

    Raises:
        InfrastructureError: some node had not at the deadline; the sentence says which and why.
    """
    try:
        _wait_for_nodes(cluster)
        return _prove_each(cluster)
    except NotProved as error:
        raise InfrastructureError(
            f"the cluster {cluster.name} did not become ready: {error}",
            remedy="`servicelab doctor` says what this machine lacks",
        ) from error


def _prove_each(cluster: Cluster) -> list[NodeProof]:
    def prove(vantage: NodeVantage, dns: Future[None]) -> NodeProof:
        _wait_for_probe(cluster, vantage)
        _reach(vantage)
        dns.result()
        return eventually(
            lambda: ask_from(vantage),
            lambda proof: proof.holds,
            deadline=deadlines.current().cluster_ready,
            expecting=f"the node {vantage.name} to reach a Service and the cluster DNS",
            every=0.1,
        )

    vantages = cluster.node_vantages
    # Each at its own pace: a node that is late keeps nobody waiting for its time-outs.
    with ThreadPoolExecutor(max_workers=len(vantages) + 1) as asking:
        dns = asking.submit(wait_until_ready, cluster)
        return [proof.result() for proof in [asking.submit(prove, each, dns) for each in vantages]]


def _reach(vantage: NodeVantage) -> None:
    """Open the channel to a node's probe, while CoreDNS starts."""
    with suppress(ChannelBroken):  # what is wrong is said when it is asked something
        vantage.reach()


def _wait_for_nodes(cluster: Cluster) -> None:
    """Watch until the API server knows every node: `kind create` ends a moment earlier."""
    from kubernetes.client import CoreV1Api

    wanted = {node.name for node in cluster.nodes}
    watch_until(
        CoreV1Api(cluster.client).list_node,
        lambda nodes: wanted <= nodes.keys() or Missing(", ".join(sorted(wanted - nodes.keys()))),
        deadline=deadlines.current().cluster_ready,
        expecting=f"the nodes of {cluster.name} to register",
        tell=lambda nodes: ", ".join(nodes),
    )


def _wait_for_probe(cluster: Cluster, vantage: NodeVantage) -> None:
    """Watch until a node's probe runs: to try again and again would keep it from starting."""
    from kubernetes.client import CoreV1Api

    from servicelab.vantage.nodes import PROBE_SELECTOR, SYSTEM_NAMESPACE, is_up

    watch_until(
        CoreV1Api(cluster.client).list_namespaced_pod,
        lambda pods: any(is_up(pod) for pod in pods.values()),
        deadline=deadlines.current().cluster_ready,
        expecting=f"a probe to run on the node {vantage.name}",
        tell=lambda pods: ", ".join(f"{each} {pod.status.phase}" for each, pod in pods.items()),
        namespace=SYSTEM_NAMESPACE,
        label_selector=PROBE_SELECTOR,
        field_selector=f"spec.nodeName={vantage.name}",
    )


def ask_from(vantage: NodeVantage) -> NodeProof:
    """Ask the cluster DNS for the `kubernetes` Service, then that Service, from one node."""
    try:
        answer = vantage.dns(KUBERNETES_NAME, server=CLUSTER_DNS, timeout=ANSWER_SECONDS)
        address = answer.addresses[0] if answer.addresses else KUBERNETES_ADDRESS
        service = vantage.tcp(address, 443, timeout=ANSWER_SECONDS)
    except ChannelBroken as error:
        return NodeProof(vantage.name, error.problem, NOT_ASKED)
    dns = "" if answer.addresses else answer.detail or str(answer.error or answer.rcode)
    return NodeProof(vantage.name, str(service.error or ""), dns)
