"""Whether images can be pulled is asked in two short questions, never by pulling."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from servicelab.engine import registry
from servicelab.engine.registry import registry_hosts, registry_in_reach
from servicelab.pins import pins


@pytest.fixture
def getent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH with nothing but a getent, which the test writes."""
    monkeypatch.setenv("PATH", f"{tmp_path}")
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "getent"


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_registries_are_those_that_image_names_begin_with() -> None:
    """A name without a host has no registry of its own, and ours is served by none."""
    images = ["registry.test/a/b", "registry.test/c", "kindest/node", "servicelab.local/probe"]

    assert registry_hosts(images) == ["registry.test"]
    assert registry_hosts(pins().images.values()) != []


def test_a_name_that_does_not_resolve_is_out_of_reach(getent: Path) -> None:
    """No connection is tried then."""
    script(getent, "exit 2")

    reach = registry_in_reach()

    assert not reach
    assert "can't be resolved" in str(reach)


def test_a_slow_name_server_is_given_up(getent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that takes longer than allowed counts as out of reach."""
    monkeypatch.setattr(registry, "QUESTION_TIMEOUT_S", 0.2)
    script(getent, "exec /bin/sleep 60")

    assert "not looked up within" in str(registry_in_reach())


def test_a_closed_port_is_out_of_reach(getent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name alone is not enough: something must listen."""
    script(getent, "echo 127.0.0.1 STREAM")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(registry, "HTTPS", free.getsockname()[1])

        assert "can't be connected to" in str(registry_in_reach())


def test_an_open_port_is_in_reach(getent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every registry was asked for."""
    script(getent, "echo 127.0.0.1 STREAM")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(registry, "HTTPS", listening.getsockname()[1])

        reach = registry_in_reach()

    assert reach
    assert str(reach).endswith("in reach")


def test_a_proxy_stands_for_the_registries(getent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a proxy is set, it is the one to be in reach; no registry is looked up."""
    script(getent, f'echo "$2" >> {getent}.log; echo 127.0.0.1 STREAM')
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://proxy.test:{port}")

        assert registry_in_reach()

    assert Path(f"{getent}.log").read_text() == "proxy.test\n"
