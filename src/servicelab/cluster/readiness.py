"""Ready means proven: a Service round trip and a DNS answer have worked from every node.

The cluster proves itself by the Services it has anyway: `kubernetes` (kube-proxy's rules on that
node, the API server behind them) and `kube-dns` (CoreDNS, its Pod, the Pod network).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError
from servicelab.vantage.nodes import system_manifest
from servicelab.verdict import deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster.kind_cluster import Cluster
    from servicelab.vantage import NodeVantage

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


def start_probes(cluster: Cluster) -> None:
    """Apply the node probes through the control plane's own kubectl, before there is a kubeconfig."""
    control_plane = f"{cluster.name}-control-plane"
    cluster.docker_exec(
        control_plane, "kubectl", _ADMIN, "apply", "-f", "-", input=system_manifest()
    )


def prove_ready(cluster: Cluster) -> list[NodeProof]:
    """Wait until every node has seen a Service and a DNS answer.

    Raises:
        InfrastructureError: some node had not at the deadline; the sentence says which and why.
    """
    vantages = cluster.node_vantages
    try:
        return eventually(
            lambda: [ask_from(vantage) for vantage in vantages],
            lambda proofs: all(proof.holds for proof in proofs),
            deadline=deadlines.current().cluster_ready,
            expecting="every node to reach a Service and the cluster DNS",
            every=0.1,
        )
    except AssertionError as error:
        raise InfrastructureError(
            f"the cluster {cluster.name} did not become ready: {error}",
            remedy="`servicelab doctor` says what this machine lacks",
        ) from error


def ask_from(vantage: NodeVantage) -> NodeProof:
    """Ask the `kubernetes` Service and the cluster DNS from one node, by their addresses."""
    answer = vantage.dns(KUBERNETES_NAME, timeout=1.0)
    if not answer.ok:
        service = vantage.tcp("10.96.0.1", 443, timeout=1.0)
        return NodeProof(vantage.name, service.error or "", str(answer.error or answer.rcode))
    address = answer.addresses[0] if answer.addresses else ""
    if not address:
        return NodeProof(vantage.name, "", f"{answer.rcode}, no address")
    service = vantage.tcp(address, 443, timeout=1.0)
    return NodeProof(vantage.name, service.error or "", "")
