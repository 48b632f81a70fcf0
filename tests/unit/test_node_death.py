"""A node that dies comes back as it was, or the run is told."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace as Object
from typing import Any

import pytest
from kubernetes import client as kubernetes_client

from servicelab.cluster.node_death import dead
from servicelab.errors import InfrastructureError
from servicelab.verdict import deadlines


class FakeEngine:
    """Docker with one node; a started one has the next of these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.running = True
        self.calls: list[tuple[str, ...]] = []
        self.names_subnets = True

    def docker(self, *args: str) -> str:
        """`docker kill`, `start`, `ps` and `inspect`."""
        return self.try_docker(*args).stdout.decode()

    def try_docker(self, *args: str) -> subprocess.CompletedProcess[bytes]:
        """The same; the network may refuse a chosen address."""
        refused = not self.names_subnets and any(word.startswith("--ip") for word in args)
        said = b"" if refused else self._done(*args).encode()
        return subprocess.CompletedProcess(args, int(refused), said, b"")

    def _done(self, *args: str) -> str:
        if args[0] in ("kill", "start", "network"):
            self.calls.append(args)
        if args[0] in ("kill", "start"):
            self.running = args[0] == "start"
        if args[0] == "start":
            self.addresses.pop(0)
        if args[0] == "ps":
            return "worker\n" if self.running else ""
        labels = {"io.x-k8s.kind.role": "worker"}
        networks = {"kind": {"IPAddress": self.addresses[0]}}
        node = {
            "Name": "/worker",
            "Config": {"Labels": labels},
            "NetworkSettings": {"Networks": networks},
        }
        return json.dumps([node])


def cluster(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, *, late: float = 1) -> Any:
    """A cluster whose node last reported so many seconds after now."""

    class Core:
        def __init__(self, client: object) -> None: ...

        def list_node(self, **selection: object) -> Any:
            at = datetime.now(UTC) + timedelta(seconds=late)
            ready = Object(type="Ready", status="True", reason="Fine", last_heartbeat_time=at)
            node = Object(metadata=Object(name="worker"), status=Object(conditions=[ready]))
            return Object(items=[node], metadata=Object(resource_version="1"))

    monkeypatch.setattr(kubernetes_client, "CoreV1Api", Core)
    monkeypatch.setattr("servicelab.verdict.watching._api_watch", lambda *args, **more: iter(()))
    return Object(engine=engine, name="one", client=None)


def test_a_node_is_killed_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, not stopped: nothing in it can say goodbye."""
    engine = FakeEngine("172.30.0.3", "172.30.0.3")

    with dead(cluster(engine, monkeypatch), "worker"):
        assert engine.calls == [("kill", "worker")]

    assert engine.calls[1:] == [
        ("network", "disconnect", "kind", "worker"),
        ("network", "connect", "--ip", "172.30.0.3", "kind", "worker"),
        ("start", "worker"),
    ], "with the address that it had, though another may be free before it"


def test_where_no_address_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a network that kind made it gets what is free; that is checked afterwards."""
    engine = FakeEngine("172.30.0.3", "172.30.0.3")
    engine.names_subnets = False

    with dead(cluster(engine, monkeypatch), "worker"):
        pass

    assert engine.calls[2:] == [("network", "connect", "kind", "worker"), ("start", "worker")]


def test_it_is_started_after_a_failure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own failure comes through."""
    engine = FakeEngine("172.30.0.3", "172.30.0.3")

    with pytest.raises(ZeroDivisionError), dead(cluster(engine, monkeypatch), "worker"):
        raise ZeroDivisionError

    assert engine.running


def test_another_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker gave its address to another container meanwhile: both are named."""
    engine = FakeEngine("172.30.0.3", "172.30.0.9")

    with (
        pytest.raises(InfrastructureError, match=r"172\.30\.0\.9, it had 172\.30\.0\.3"),
        dead(cluster(engine, monkeypatch), "worker"),
    ):
        pass


def test_what_the_node_reported_before_it_died_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its Ready condition stays as it was for most of a minute."""
    before = deadlines.use(deadlines.current().changed({"node_ready": 0.2}))
    engine = FakeEngine("172.30.0.3", "172.30.0.3")
    try:
        with (
            pytest.raises(InfrastructureError, match="node_ready"),
            dead(cluster(engine, monkeypatch, late=-5), "worker"),
        ):
            pass
    finally:
        deadlines.use(before)
