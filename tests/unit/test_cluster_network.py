"""The network of the nodes has a subnet of each family that was named."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from servicelab.cluster.network import IPV6_SUBNET, NETWORK, ensure_network
from servicelab.errors import InfrastructureError

CHOSEN = "172.30.0.0/24"


class FakeEngine:
    """Docker's networks: each with the subnets that were named, and those that Docker chose."""

    def __init__(self) -> None:
        self.named: dict[str, list[str]] = {}
        self.mtu = ""
        self.options: list[tuple[str, ...]] = []
        self.refuses: Callable[[tuple[str, ...]], bool] = lambda args: False
        self.asked: list[str] = []

    def try_docker(self, *args: str) -> subprocess.CompletedProcess[bytes]:
        """`docker network inspect|create|rm`."""
        verb, name = args[1], args[-1]
        self.asked.append(verb)
        if name == "bridge":
            return subprocess.CompletedProcess(args, int(not self.mtu), self.mtu.encode(), b"")
        if verb == "create":
            self.options.append(args[2:-1])
        failed = self.refuses(args) or (name in self.named) == (verb == "create")
        said: Any = ""
        if failed:
            pass
        elif verb == "create":
            self.named[name] = [args[at + 1] for at, each in enumerate(args) if each == "--subnet"]
        elif verb == "rm":
            del self.named[name]
        else:
            subnets = dict.fromkeys([*self.named[name], CHOSEN])
            said = json.dumps([{"IPAM": {"Config": [{"Subnet": each} for each in subnets]}}])
        return subprocess.CompletedProcess(args, int(failed), said.encode() if said else b"", b"")

    def docker(self, *args: str) -> str:
        """The same, with an error where it fails."""
        done = self.try_docker(*args)
        if done.returncode:
            raise InfrastructureError("it failed")
        return done.stdout.decode()


@pytest.fixture
def engine() -> Any:
    """Without the network."""
    return FakeEngine()


def test_both_subnets_are_named(engine: Any) -> None:
    """Docker's choice is named, so that a node can ask for its address in it."""
    ensure_network(engine)

    assert engine.named == {NETWORK: [IPV6_SUBNET, CHOSEN]}


@pytest.mark.parametrize("mtu", ["", "1450"])
def test_it_has_the_mtu_of_dockers_own_bridge(engine: Any, mtu: str) -> None:
    """As kind's own network; without such a bridge Docker's default."""
    engine.mtu = f"{mtu}\n" if mtu else ""

    ensure_network(engine)

    named = f"com.docker.network.driver.mtu={mtu}"
    assert [named in options for options in engine.options] == [bool(mtu)] * 2
    assert bool(mtu) or not any("mtu" in word for word in engine.options[0])


def test_one_that_is_there_is_left_alone(engine: Any) -> None:
    """Whoever made it."""
    engine.named[NETWORK] = []

    ensure_network(engine)

    assert engine.asked == ["inspect"]


@pytest.mark.parametrize(
    ("refused", "left"),
    [
        (("create", IPV6_SUBNET), {}),
        (("rm", NETWORK), {NETWORK: [IPV6_SUBNET]}),
        (("create", CHOSEN), {}),
    ],
)
def test_what_fails_is_left_to_kind(
    engine: Any, refused: tuple[str, str], left: dict[str, list[str]]
) -> None:
    """Without IPv6, or with somebody who is quicker."""
    engine.refuses = lambda args: args[1] == refused[0] and refused[1] in args

    ensure_network(engine)

    assert engine.named == left
