"""kube-proxy as a lab's tests handle it: its configuration, its Pods, its log, its absence.

For tests marked `disruptive`, except where they only look.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from servicelab.cluster import proxy_mode
from servicelab.cluster.mode_leftovers import KernelState, kernel_state
from servicelab.errors import InfrastructureError
from servicelab.observe.proxy_effort import ProxyEffort, proxy_effort
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
        self._run_otherwise: set[str] = set()

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

    def effort(self, node: NodeVantage) -> ProxyEffort:
        """What its work has cost so far, by its own metrics."""
        return proxy_effort(node)

    def idle(self, nodes: Sequence[NodeVantage], *, rest: float = 0.0) -> list[ProxyEffort]:
        """Wait until it has brought every change into the kernels of these nodes.

        Args:
            nodes: whose kernels.
            rest: seconds for which it must have written nothing besides; once its minSyncPeriod is
                over, it writes the next change at once.

        Raises:
            NotProved: it has still to, after `many_rules_programmed`.
        """

        def at_rest(efforts: list[ProxyEffort]) -> bool:
            now = time.time()
            return all(
                not each.waiting and each.syncs and now - each.last_sync >= rest for each in efforts
            )

        return eventually(
            lambda: [self.effort(node) for node in nodes],
            at_rest,
            deadline=deadlines.current().many_rules_programmed,
            expecting="kube-proxy to have brought every change into the kernel",
            tell=lambda efforts: "; ".join(
                f"{node.name}: {'a change is waiting' if each.waiting else 'at rest'}"
                for node, each in zip(nodes, efforts, strict=True)
            ),
            every=0.02,
            retry_on=(InfrastructureError,),
        )

    def synced(
        self, nodes: Sequence[NodeVantage], *, since: Sequence[ProxyEffort]
    ) -> list[ProxyEffort]:
        """Wait until it has written to the kernels of these nodes since an earlier reading.

        Raises:
            NotProved: it has not, after `many_rules_programmed`.
        """
        return eventually(
            lambda: self.idle(nodes),
            lambda now: all(each.syncs > was.syncs for each, was in zip(now, since, strict=True)),
            deadline=deadlines.current().many_rules_programmed,
            expecting="kube-proxy to notice a change",
            tell=lambda now: f"{[each.syncs for each in now]} syncs since it started",
            every=0.02,
        )

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

    def run(self, node: NodeVantage, mode: str, **settings: str) -> None:
        """Start it anew on one node, in this mode until the lab ends; elsewhere it stays as it is.

        Args:
            node: the node.
            mode: the cluster's mode, or another.
            settings: of that mode's section of the configuration, such as minSyncPeriod="1s".

        Raises:
            ModeRefused: it ended instead; says what it logged.
        """
        if other := self._lab.fault.instead.get("run"):
            mode, settings = other(self._lab, node, mode, **settings)
        before = self.configuration()
        if node.name not in self._run_otherwise:
            self._run_otherwise.add(node.name)
            self._lab.on_close(lambda: self._run_as_configured(node))
        section = {**(before.get(mode) or {}), **settings}
        proxy_mode.write_configuration(self._cluster, {**before, "mode": mode, mode: section})
        try:
            self.restart(node, mode)
        finally:
            proxy_mode.write_configuration(self._cluster, before)

    @contextmanager
    def paused(self, nodes: Sequence[NodeVantage]) -> Iterator[None]:
        """On these nodes its process stands still, and catches up afterwards."""
        try:
            for node in nodes:
                self._signal(node, "STOP")
            yield
        finally:
            for node in nodes:
                self._signal(node, "CONT")

    def _signal(self, node: NodeVantage, signal: str) -> None:
        self._cluster.docker_exec(node.name, "pkill", f"-{signal}", "-x", "kube-proxy")

    def _run_as_configured(self, node: NodeVantage) -> None:
        mode = self.configuration().get("mode") or "iptables"
        self.restart(node, mode)
        proxy_mode.clean_up(self._cluster, mode)

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
