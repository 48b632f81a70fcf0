"""Switching kube-proxy's mode in place, and proving which mode is in force.

kube-proxy reads its ConfigMap when it starts, so a switch is: change the ConfigMap, replace the
Pods one by one, wait until each node's kube-proxy reports the mode, its kernel shows it and nothing
of another, and a Service answers from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import yaml

from servicelab.cluster.mode_leftovers import KernelState, clean, kernel_state
from servicelab.errors import InfrastructureError
from servicelab.observe.proxy_effort import KUBE_PROXY_URL, proxy_effort
from servicelab.verdict import NotProved, deadlines, eventually
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from servicelab.cluster.config import ProxyMode
    from servicelab.cluster.kind_cluster import Cluster
    from servicelab.vantage import NodeVantage

NAMESPACE = "kube-system"
CONFIG_MAP = "kube-proxy"
SELECTOR = "k8s-app=kube-proxy"


class ModeRefused(InfrastructureError):
    """kube-proxy can't run in a mode on some node; the mode before is in force again."""


@dataclass(frozen=True, slots=True)
class ModeSeen:
    """What one node shows of kube-proxy's mode.

    Attributes:
        node: its name.
        reported: what kube-proxy says on /proxyMode; "" if it does not answer.
        kernel: what its kernel holds.
    """

    node: str
    reported: str
    kernel: KernelState

    @property
    def rules(self) -> tuple[str, ...]:
        """The modes whose rules the kernel holds."""
        return self.kernel.modes

    def shows_only(self, mode: ProxyMode) -> bool:
        """kube-proxy reports the mode, and the kernel holds its rules and nothing of another."""
        return self.reported == mode and self.rules == (mode,) and not self.kernel.left_behind(mode)

    def __str__(self) -> str:
        kernel = " and ".join(self.rules) or "no"
        return f"{self.node}: reported {self.reported or 'nothing'}, {kernel} rules in the kernel"


@dataclass(frozen=True, slots=True)
class Switched:
    """What came of a switch.

    Attributes:
        mode: that is in force now.
        seconds: from the change of the configuration to the proof.
        left_behind: what kube-proxy itself left of other modes, by node; since cleaned.
    """

    mode: ProxyMode
    seconds: float
    left_behind: dict[str, tuple[str, ...]] = field(default_factory=dict)


def switch(
    cluster: Cluster,
    mode: ProxyMode,
    *,
    scheduler: str | None = None,
    strict_arp: bool | None = None,
) -> Switched:
    """Put kube-proxy into a mode on every node, node by node, clean up after it, and prove it.

    Args:
        cluster: the cluster.
        mode: the mode to enter; the one in force only has its settings changed.
        scheduler: ipvs' scheduler; None leaves what is configured.
        strict_arp: ipvs' strictARP; None leaves what is configured.

    Raises:
        ModeRefused: kube-proxy ends in that mode; says what it logged.
        InfrastructureError: a node did not get there within the deadline.
    """
    from servicelab.cluster.readiness import prove_ready

    began = time.monotonic()
    before = read_configuration(cluster)
    wanted = {**before, "mode": mode}
    ipvs = {"scheduler": scheduler, "strictARP": strict_arp}
    wanted["ipvs"] = {
        **(before.get("ipvs") or {}),
        **{key: value for key, value in ipvs.items() if value is not None},
    }
    write_configuration(cluster, wanted)
    try:
        for vantage in cluster.node_vantages:
            restart(cluster, vantage, mode)
    except BaseException:
        write_configuration(cluster, before)
        for vantage in cluster.node_vantages:
            if mode_reported(vantage) != (before.get("mode") or "iptables"):
                delete_pod_of(cluster, vantage.name)
        raise
    left = clean_up(cluster, mode)
    prove_mode(cluster, mode)
    prove_ready(cluster)
    return Switched(mode, time.monotonic() - began, left)


def read_configuration(cluster: Cluster) -> dict[str, Any]:
    """kube-proxy's configuration, out of its ConfigMap."""
    data = _core(cluster).read_namespaced_config_map(CONFIG_MAP, NAMESPACE).data or {}
    return dict(yaml.safe_load(data["config.conf"]))


def write_configuration(cluster: Cluster, configuration: dict[str, Any]) -> None:
    """Change kube-proxy's ConfigMap; nothing happens until its Pods start again."""
    text = yaml.safe_dump(configuration)
    _core(cluster).patch_namespaced_config_map(
        CONFIG_MAP, NAMESPACE, {"data": {"config.conf": text}}
    )


def restart(cluster: Cluster, vantage: NodeVantage, mode: str) -> None:
    """Replace one node's kube-proxy, and wait until the new one reports a mode and shows its rules.

    Raises:
        ModeRefused: it ends instead; says what it logged.
        InfrastructureError: it does neither within `proxy_mode_switched`.
    """
    from servicelab.lab.pods import is_going, pods_in_words

    gone = delete_pod_of(cluster, vantage.name)

    def new(pods: Iterable[Any]) -> list[Any]:
        found = [pod for pod in pods if pod.metadata.uid not in gone and not is_going(pod)]
        for pod in found:
            _check_runs(cluster, pod, vantage.name, mode)
        return found

    def look() -> ModeSeen:
        reported = mode_reported(vantage) if new(_pods_of(cluster, vantage.name)) else ""
        # Until it has written its own, the kernel holds those of the Pod before.
        written = reported == mode and _has_written(vantage)
        kernel = kernel_state(cluster, vantage.name) if written else KernelState()
        return ModeSeen(vantage.name, reported, kernel)

    try:
        watch_until(
            _core(cluster).list_namespaced_pod,
            lambda pods: any(pod.status.phase == "Running" for pod in new(pods.values())),
            deadline=deadlines.current().proxy_mode_switched,
            expecting=f"a new kube-proxy to run on {vantage.name}",
            tell=pods_in_words,
            namespace=NAMESPACE,
            label_selector=SELECTOR,
            field_selector=f"spec.nodeName={vantage.name}",
        )
        eventually(
            look,
            lambda seen: seen.reported == mode and mode in seen.rules,
            deadline=deadlines.current().proxy_mode_switched,
            expecting=f"kube-proxy on {vantage.name} in {mode} mode, with rules of it",
        )
    except NotProved as error:
        raise InfrastructureError(
            f"kube-proxy did not switch to {mode} mode: {error}",
            remedy=f"see `kubectl -n {NAMESPACE} logs -l {SELECTOR}`",
        ) from error


def delete_pod_of(cluster: Cluster, node: str) -> set[str]:
    """Delete a node's kube-proxy Pod; its DaemonSet makes another.

    Returns:
        The uids of the Pods that go.
    """
    found = _pods_of(cluster, node)
    for pod in found:
        _core(cluster).delete_namespaced_pod(pod.metadata.name, NAMESPACE, grace_period_seconds=1)
    return {str(pod.metadata.uid) for pod in found}


def clean_up(cluster: Cluster, mode: str) -> dict[str, tuple[str, ...]]:
    """Take away what other modes left on each node.

    Returns:
        What that was, by node; only of nodes that had any.
    """

    def of_node(vantage: NodeVantage) -> tuple[str, tuple[str, ...]]:
        state = kernel_state(cluster, vantage.name)
        left = state.left_behind(mode)
        if left:
            _clean(cluster, vantage.name, mode, state)
        return vantage.name, left

    vantages = cluster.node_vantages
    with ThreadPoolExecutor(max_workers=len(vantages)) as cleaning:
        return {node: left for node, left in cleaning.map(of_node, vantages) if left}


def _clean(cluster: Cluster, node: str, mode: str, state: KernelState) -> None:
    """Clean a node, again if its kernel refuses: kube-proxy may be taking away the same."""
    states = chain([state], iter(partial(kernel_state, cluster, node), None))

    def cleaned() -> bool:
        clean(cluster, node, mode, next(states))
        return True

    try:
        eventually(
            cleaned,
            bool,
            deadline=deadlines.current().proxy_mode_switched,
            expecting=f"{node} to give up what is not of {mode} mode",
            retry_on=(InfrastructureError,),
        )
    except NotProved as error:
        raise InfrastructureError(str(error), remedy="see `servicelab engine status`") from error


def prove_mode(cluster: Cluster, mode: ProxyMode) -> list[ModeSeen]:
    """Wait until every node reports the mode and its kernel holds nothing of another.

    Raises:
        InfrastructureError: some node does not within `proxy_mode_switched`.
    """
    vantages = cluster.node_vantages
    with ThreadPoolExecutor(max_workers=len(vantages)) as asking:
        try:
            return eventually(
                lambda: list(asking.map(lambda each: mode_seen(cluster, each), vantages)),
                lambda seen: all(node.shows_only(mode) for node in seen),
                deadline=deadlines.current().proxy_mode_switched,
                expecting=f"every node in {mode} mode, and nothing of another mode left",
                tell=lambda seen: "; ".join(
                    ", ".join((str(node), *node.kernel.left_behind(mode))) for node in seen
                ),
                every=0.2,
            )
        except NotProved as error:
            raise InfrastructureError(
                f"kube-proxy did not switch to {mode} mode: {error}",
                remedy=f"see `kubectl -n {NAMESPACE} logs -l {SELECTOR}`",
            ) from error


def mode_seen(cluster: Cluster, vantage: NodeVantage) -> ModeSeen:
    """Ask one node's kube-proxy for its mode, and its kernel for the rules it holds."""
    return ModeSeen(vantage.name, mode_reported(vantage), kernel_state(cluster, vantage.name))


def mode_reported(vantage: NodeVantage) -> str:
    """The mode that a node's kube-proxy says it runs in; "" if it does not answer."""
    reply = vantage.get(f"{KUBE_PROXY_URL}/proxyMode", timeout=1.0)
    return reply.text.strip() if reply.status == 200 else ""


def _has_written(vantage: NodeVantage) -> bool:
    try:
        return proxy_effort(vantage).syncs > 0
    except InfrastructureError:  # it has not even counted yet
        return False


def _pods_of(cluster: Cluster, node: str) -> list[Any]:
    from servicelab.lab.pods import is_going

    listed = _core(cluster).list_namespaced_pod(
        NAMESPACE, label_selector=SELECTOR, field_selector=f"spec.nodeName={node}"
    )
    return [pod for pod in listed.items if not is_going(pod)]


def _check_runs(cluster: Cluster, pod: Any, node: str, mode: str) -> None:
    """Refuse the mode as soon as kube-proxy has ended in it once."""
    for status in pod.status.container_statuses or ():
        ended = status.state.terminated or (status.last_state and status.last_state.terminated)
        if ended:
            raise ModeRefused(
                f"kube-proxy can't run in {mode} mode on {node}: {_last_error(cluster, pod)}",
                remedy="load the kernel modules that the mode needs (`servicelab doctor` names "
                "them), or choose another mode",
            )


def _last_error(cluster: Cluster, pod: Any) -> str:
    """What kube-proxy said before it ended: its last line that tells of an error."""
    from kubernetes.client.exceptions import ApiException

    for previous in (False, True):
        try:
            text = _core(cluster).read_namespaced_pod_log(
                pod.metadata.name, NAMESPACE, previous=previous
            )
        except ApiException:  # that container has left no log, or not yet
            continue
        lines = [line for line in str(text).splitlines() if line[:1] in "EF" or "rror" in line]
        if lines:
            return lines[-1].split("] ", 1)[-1].strip()
    return "it left no log"


def _core(cluster: Cluster) -> Any:
    from kubernetes.client import CoreV1Api

    return CoreV1Api(cluster.client)
