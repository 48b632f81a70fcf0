"""One node's kube-proxy runs otherwise than the others', stands still, and is read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace as Thing
from typing import Any

import pytest

from servicelab.lab import kube_proxy
from servicelab.lab.faults import Fault
from servicelab.lab.kube_proxy import KubeProxy
from servicelab.observe.proxy_effort import ProxyEffort

AT_REST = ProxyEffort(
    started=1.0,
    syncs=3,
    sync_seconds=0.5,
    full_syncs=1,
    full_seconds=0.2,
    waiting=False,
    last_sync=0.0,
    cpu_seconds=1.0,
    memory_bytes=1 << 20,
)
NODES: Any = [Thing(name="worker"), Thing(name="worker2")]


class FakeProxies:
    """kube-proxy of a cluster: its configuration, and what was done to it."""

    def __init__(self) -> None:
        self.configuration: dict[str, Any] = {"mode": "iptables", "nftables": {"syncPeriod": "30s"}}
        self.done: list[str] = []
        self.written: list[dict[str, Any]] = []
        self.closing = ExitStack()

    def lab(self, fault: Fault | None = None) -> Any:
        return Thing(
            cluster=Thing(docker_exec=self.docker_exec),
            fault=fault or Fault(),
            on_close=self.closing.callback,
        )

    def docker_exec(self, node: str, *argv: str) -> str:
        self.done.append(f"{node}: {' '.join(argv)}")
        return ""

    def write(self, cluster: Any, configuration: dict[str, Any]) -> None:
        self.configuration = configuration
        self.written.append(configuration)

    def restart(self, cluster: Any, node: Any, mode: str) -> None:
        self.done.append(f"{node.name} starts in {self.configuration['mode']} mode, asked {mode}")


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> FakeProxies:
    fake = FakeProxies()
    monkeypatch.setattr(kube_proxy.proxy_mode, "read_configuration", lambda _: fake.configuration)
    monkeypatch.setattr(kube_proxy.proxy_mode, "write_configuration", fake.write)
    monkeypatch.setattr(kube_proxy.proxy_mode, "restart", fake.restart)
    monkeypatch.setattr(
        kube_proxy.proxy_mode, "clean_up", lambda _, mode: fake.done.append(f"clean, {mode} stays")
    )
    return fake


def test_one_node_runs_in_another_mode_until_the_lab_ends(proxies: FakeProxies) -> None:
    """It starts with the changed configuration, which is put back at once; the node follows it
    when the lab ends, however often it was started anew."""
    before = proxies.configuration
    kubeproxy = KubeProxy(proxies.lab())

    kubeproxy.run(NODES[0], "nftables", minSyncPeriod="100ms")
    kubeproxy.run(NODES[0], "nftables", minSyncPeriod="100ms")

    changed = {"syncPeriod": "30s", "minSyncPeriod": "100ms"}
    assert proxies.written[0] == {"mode": "nftables", "nftables": changed}
    assert proxies.configuration == before
    assert proxies.done == ["worker starts in nftables mode, asked nftables"] * 2

    proxies.closing.close()

    assert proxies.done[2:] == [
        "worker starts in iptables mode, asked iptables",
        "clean, iptables stays",
    ]


def test_the_configuration_is_put_back_also_if_it_ends(
    proxies: FakeProxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mode that a node can't run in stays nowhere."""

    def refuse(*_: Any) -> None:
        raise OSError("it ended")

    before = proxies.configuration
    monkeypatch.setattr(kube_proxy.proxy_mode, "restart", refuse)

    with pytest.raises(OSError, match="it ended"):
        KubeProxy(proxies.lab()).run(NODES[0], "ipvs", minSyncPeriod="1s")

    assert proxies.configuration == before


def test_a_fault_lets_it_run_in_a_mode_of_its_own(proxies: FakeProxies) -> None:
    """What a refuter says counts more than what the test asks for."""
    fault = Fault(instead={"run": lambda lab, node, mode, **settings: ("iptables", settings)})

    KubeProxy(proxies.lab(fault)).run(NODES[1], "nftables", minSyncPeriod="1s")

    assert proxies.done == ["worker2 starts in iptables mode, asked iptables"]


def test_it_goes_on_after_a_pause_whatever_happens(proxies: FakeProxies) -> None:
    """It stands still on these nodes, and goes on also if the test fails meanwhile."""

    def fails() -> None:
        with KubeProxy(proxies.lab()).paused(NODES):
            assert len(proxies.done) == 2
            raise OSError("the test failed")

    with pytest.raises(OSError, match="the test failed"):
        fails()

    assert proxies.done == [
        "worker: pkill -STOP -x kube-proxy",
        "worker2: pkill -STOP -x kube-proxy",
        "worker: pkill -CONT -x kube-proxy",
        "worker2: pkill -CONT -x kube-proxy",
    ]


def readings(*efforts: ProxyEffort) -> Callable[[Any], ProxyEffort]:
    left = list(efforts)
    return lambda node: left.pop(0) if len(left) > 1 else left[0]


def test_idle_waits_for_what_is_waiting(
    proxies: FakeProxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that is waiting, or no sync since it started, is no rest."""
    seen = (replace(AT_REST, waiting=True), replace(AT_REST, syncs=0), AT_REST)
    monkeypatch.setattr(kube_proxy, "proxy_effort", readings(*seen))

    assert KubeProxy(proxies.lab()).idle(NODES[:1]) == [AT_REST]


def test_synced_waits_for_one_more_sync(
    proxies: FakeProxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading with as many syncs as before is not one of after the change."""
    monkeypatch.setattr(kube_proxy, "proxy_effort", readings(AT_REST, replace(AT_REST, syncs=4)))

    (found,) = KubeProxy(proxies.lab()).synced(NODES[:1], since=[AT_REST])

    assert found.syncs == 4
