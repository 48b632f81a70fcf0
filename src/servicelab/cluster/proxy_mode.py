"""Switching kube-proxy's mode in place, and proving which mode is in force.

kube-proxy reads its ConfigMap when it starts, so a switch is: change the ConfigMap, replace the
Pods, wait until each node's kube-proxy reports the mode, its kernel shows it, and a Service answers
from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from servicelab.errors import InfrastructureError
from servicelab.verdict import deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster.config import ProxyMode
    from servicelab.cluster.kind_cluster import Cluster
    from servicelab.vantage import NodeVantage

NAMESPACE = "kube-system"
CONFIG_MAP = "kube-proxy"
SELECTOR = "k8s-app=kube-proxy"
#: kube-proxy's own report, on each node's loopback (its default metricsBindAddress).
MODE_URL = "http://127.0.0.1:10249/proxyMode"


@dataclass(frozen=True, slots=True)
class ModeSeen:
    """What one node shows of kube-proxy's mode.

    Attributes:
        node: its name.
        reported: what kube-proxy says on /proxyMode; "" if it does not answer.
        rules: the modes whose rules the kernel holds.
    """

    node: str
    reported: str
    rules: tuple[str, ...]

    def shows_only(self, mode: str) -> bool:
        """kube-proxy reports the mode, and the kernel holds its rules and no other's."""
        return self.reported == mode and self.rules == (mode,)

    def __str__(self) -> str:
        kernel = " and ".join(self.rules) or "no"
        return f"{self.node}: reported {self.reported or 'nothing'}, {kernel} rules in the kernel"


def switch(cluster: Cluster, mode: ProxyMode) -> None:
    """Put kube-proxy into a mode on every node, and prove it.

    Raises:
        InfrastructureError: a node did not get there within the deadline.
    """
    from kubernetes.client import CoreV1Api

    from servicelab.cluster.readiness import prove_ready

    core = CoreV1Api(cluster.client)
    data: dict[str, str] = core.read_namespaced_config_map(CONFIG_MAP, NAMESPACE).data or {}
    config = data["config.conf"]
    wanted = {**yaml.safe_load(config), "mode": mode}
    core.patch_namespaced_config_map(
        CONFIG_MAP, NAMESPACE, {"data": {"config.conf": yaml.safe_dump(wanted)}}
    )
    core.delete_collection_namespaced_pod(
        NAMESPACE, label_selector=SELECTOR, grace_period_seconds=1
    )
    try:
        eventually(
            lambda: [mode_seen(cluster, vantage) for vantage in cluster.node_vantages],
            lambda seen: all(node.shows_only(mode) for node in seen),
            deadline=deadlines.current().proxy_mode_switched,
            expecting=f"every node in {mode} mode, and nothing of another mode left",
            every=0.2,
        )
    except AssertionError as error:
        raise InfrastructureError(
            f"kube-proxy did not switch to {mode} mode: {error}",
            remedy=f"see `kubectl -n {NAMESPACE} logs -l {SELECTOR}`",
        ) from error
    prove_ready(cluster)


def mode_seen(cluster: Cluster, vantage: NodeVantage) -> ModeSeen:
    """Ask one node's kube-proxy for its mode, and its kernel for the rules it holds."""
    return ModeSeen(vantage.name, mode_reported(vantage), rules_in_kernel(cluster, vantage.name))


def mode_reported(vantage: NodeVantage) -> str:
    """The mode that a node's kube-proxy says it runs in; "" if it does not answer."""
    reply = vantage.get(MODE_URL, timeout=1.0)
    return reply.text.strip() if reply.status == 200 else ""


def rules_in_kernel(cluster: Cluster, node: str) -> tuple[str, ...]:
    """The modes whose Service rules a node's kernel holds now."""
    found = []
    if "-A KUBE-SVC-" in cluster.docker_exec(node, "iptables-save", "-t", "nat"):
        found.append("iptables")
    if "table ip kube-proxy" in cluster.docker_exec(node, "nft", "list", "tables"):
        found.append("nftables")
    return tuple(found)
