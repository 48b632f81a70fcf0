"""What kube-proxy's work on a node has cost it so far, by its own metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError
from servicelab.observe.metrics import Metrics

if TYPE_CHECKING:
    from servicelab.vantage import NodeVantage

#: Where kube-proxy tells of itself, on each node's loopback (its default metricsBindAddress).
KUBE_PROXY_URL = "http://127.0.0.1:10249"
#: What kube-proxy says is some 60 kB.
_MOST_BYTES = 1 << 20
_IPV4 = {"ip_family": "IPv4"}


@dataclass(frozen=True, slots=True)
class ProxyEffort:
    """One reading; counts and times are since kube-proxy started.

    Attributes:
        started: when it started, in seconds since the epoch; another start, another process.
        syncs: how often it has brought the kernel's rules up to date.
        sync_seconds: how long that took, all together.
        full_syncs: how often it wrote all rules; 0 in ipvs mode, which does not tell.
        full_seconds: how long these took.
        waiting: has it still to bring a change into the kernel?
        last_sync: when it last did, in seconds since the epoch.
        cpu_seconds: time on a processor.
        memory_bytes: resident memory.
    """

    started: float
    syncs: int
    sync_seconds: float
    full_syncs: int
    full_seconds: float
    waiting: bool
    last_sync: float
    cpu_seconds: float
    memory_bytes: int


def proxy_effort(node: NodeVantage) -> ProxyEffort:
    """Ask a node's kube-proxy.

    Raises:
        InfrastructureError: it does not answer.
    """
    reply = node.get(f"{KUBE_PROXY_URL}/metrics", most_bytes=_MOST_BYTES)
    if reply.status != 200:
        raise InfrastructureError(
            f"kube-proxy on {node.name} gives no metrics: {reply.outcome}",
            remedy="see `kubectl -n kube-system logs -l k8s-app=kube-proxy`",
        )
    return read_effort(reply.text)


def read_effort(text: str) -> ProxyEffort:
    """Read what kube-proxy's /metrics gave; only IPv4's rules count."""
    metrics = Metrics(text)

    def of_rules(name: str) -> float:
        return metrics.value(f"kubeproxy_{name}", **_IPV4)

    last = of_rules("sync_proxy_rules_last_timestamp_seconds")
    return ProxyEffort(
        started=metrics.value("process_start_time_seconds"),
        syncs=int(of_rules("sync_proxy_rules_duration_seconds_count")),
        sync_seconds=of_rules("sync_proxy_rules_duration_seconds_sum"),
        full_syncs=int(of_rules("sync_full_proxy_rules_duration_seconds_count")),
        full_seconds=of_rules("sync_full_proxy_rules_duration_seconds_sum"),
        waiting=last < of_rules("sync_proxy_rules_last_queued_timestamp_seconds"),
        last_sync=last,
        cpu_seconds=metrics.value("process_cpu_seconds_total"),
        memory_bytes=int(metrics.value("process_resident_memory_bytes")),
    )
