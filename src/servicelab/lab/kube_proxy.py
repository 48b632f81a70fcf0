"""kube-proxy as a lab's tests handle it: its configuration, its Pods, its log, its absence.

For tests marked `disruptive`, except where they only look.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from servicelab.cluster import proxy_mode
from servicelab.cluster.mode_leftovers import KernelState, kernel_state
from servicelab.verdict import deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster.proxy_mode import ModeSeen, Switched
    from servicelab.lab.lab import Lab
    from servicelab.vantage import NodeVantage

DAEMON_SET = "kube-proxy"
#: A label that no node has: a DaemonSet that asks for it has no Pods.
NOWHERE = "servicelab/nowhere"


class KubeProxy:
    """The cluster's kube-proxy.

    Args:
        lab: through whose fault, if any, its verbs go.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._cluster = lab.cluster

    # Looking.

    def seen(self) -> list[ModeSeen]:
        """What each node shows of the mode: kube-proxy's report, and the kernel."""
        return [proxy_mode.mode_seen(self._cluster, node) for node in self._cluster.node_vantages]

    def reported(self) -> dict[str, str]:
        """The mode that each node's kube-proxy reports; "" where it does not answer."""
        return {node.name: proxy_mode.mode_reported(node) for node in self._cluster.node_vantages}

    def kernel(self, node: str) -> KernelState:
        """What a node's kernel holds of any mode."""
        return kernel_state(self._cluster, node)

    def pods(self) -> dict[str, str]:
        """The names of its Pods, by node."""
        core: Any = self._lab.core
        listed = core.list_namespaced_pod(
            proxy_mode.NAMESPACE, label_selector=proxy_mode.SELECTOR
        ).items
        return {
            str(pod.spec.node_name): str(pod.metadata.name)
            for pod in listed
            if pod.metadata.deletion_timestamp is None
        }

    def log(self, node: str) -> str:
        """What a node's kube-proxy has logged since it started."""
        return str(self._lab.core.read_namespaced_pod_log(self.pods()[node], proxy_mode.NAMESPACE))

    def configuration(self) -> dict[str, Any]:
        """Its configuration, out of the ConfigMap."""
        return proxy_mode.read_configuration(self._cluster)

    # Changing.

    def configure(self, **changes: Any) -> None:
        """Change its configuration in the ConfigMap until the lab ends, and nothing else.

        Pods that a restart has brought into another mode are put back then, too.
        """
        before = self.configuration()
        if other := self._lab.fault.instead.get("configure"):
            changes = other(self._lab, **changes)
        self._lab.on_close(lambda: self._put_back(before))
        proxy_mode.write_configuration(self._cluster, {**before, **changes})

    def restart(self, node: NodeVantage, mode: str) -> None:
        """Replace one node's Pod, and wait until the new one reports the mode and shows its rules.

        Raises:
            ModeRefused: it ended instead; says what it logged.
        """
        proxy_mode.restart(self._cluster, node, mode)

    def switch(self, mode: str, **settings: Any) -> Switched:
        """Switch the cluster's mode, node by node; says what kube-proxy left of the one before."""
        from servicelab.cluster import as_mode

        if other := self._lab.fault.instead.get("switch"):
            settings = other(self._lab, **settings)
        switched = self._cluster.switch_mode(as_mode(mode), **settings)
        assert switched is not None, f"the cluster is in {mode} mode already"
        return switched

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """No kube-proxy runs on any node; its rules stay where they are."""
        if other := self._lab.fault.instead.get("stop_kube_proxy"):
            with other(self._lab):
                yield
            return
        self._select({NOWHERE: "true"})
        try:
            self._wait_for(0, "no kube-proxy to run")
            yield
        finally:
            self._select({NOWHERE: None})
            count = len(self._cluster.nodes)
            self._wait_for(count, f"kube-proxy to run on all {count} nodes again")

    def _select(self, labels: dict[str, str | None]) -> None:
        patch = {"spec": {"template": {"spec": {"nodeSelector": labels}}}}
        self._lab.apps.patch_namespaced_daemon_set(DAEMON_SET, proxy_mode.NAMESPACE, patch)

    def _wait_for(self, count: int, expecting: str) -> None:
        eventually(
            self.reported,
            lambda modes: sum(bool(mode) for mode in modes.values()) == count,
            deadline=deadlines.current().proxy_mode_switched,
            expecting=expecting,
            every=0.2,
        )

    def _put_back(self, before: dict[str, Any]) -> None:
        proxy_mode.write_configuration(self._cluster, before)
        mode = before.get("mode") or "iptables"
        for node in self._cluster.node_vantages:
            if proxy_mode.mode_reported(node) != mode:
                proxy_mode.restart(self._cluster, node, mode)
        proxy_mode.clean_up(self._cluster, mode)
