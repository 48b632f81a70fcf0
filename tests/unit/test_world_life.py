"""The world's life: what is started, who shares it, and that nothing is left of it."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from servicelab.errors import InfrastructureError
from servicelab.host import process_identity
from servicelab.progress import Progress
from servicelab.world import World, containers, read_sites, world, world_beside
from servicelab.world.containers import NAME_SERVER, Containers, start_containers

SITES = read_sites()
RUNNING = Containers("172.18.0.9", {"edge-1": "172.18.0.7", "edge-2": "172.18.0.8"})


class FakeEngine:
    """Notes docker's arguments, and has what was run; one with the word `fails` fails."""

    def __init__(self, fails: str = "nothing") -> None:
        self.fails = fails
        self.commands: list[tuple[str, ...]] = []
        self.containers: dict[str, dict[str, str]] = {}
        self.copied = b""

    def docker(self, *argv: str, input: bytes | None = None) -> str:
        """What docker would print."""
        self.commands.append(argv)
        if self.fails in argv:
            raise InfrastructureError("docker failed")
        if argv[0] in ("run", "create"):
            options = [word[2:].split("=", 1) for word in argv if word.startswith("--")]
            named = dict(each for each in options if len(each) == 2)
            labels = [value.split("=", 1) for name, value in options[1:] if name == "label"]
            self.containers[named["name"]] = dict(each for each in labels)
        elif argv[0] == "ps":
            return "\n".join(self.containers)
        elif argv[0] == "inspect":
            return json.dumps([self._inspected(name) for name in argv[1:]])
        elif argv[0] == "cp":
            self.copied = input or b""
        elif argv[0] == "rm":
            for name in argv[3:]:
                del self.containers[name]
        return ""

    def _inspected(self, name: str) -> dict[str, Any]:
        place = {"kind": {"IPAddress": f"172.18.0.{7 + list(self.containers).index(name)}"}}
        labels = self.containers[name]
        return {"Config": {"Labels": labels}, "NetworkSettings": {"Networks": place}}


def start(engine: FakeEngine) -> Containers:
    """Start the world in a fake engine."""
    return start_containers(
        engine, "kind", SITES, web_image="probe:1", name_server_image="coredns:1"  # type: ignore[arg-type]
    )  # fmt: skip


def test_every_container_goes_with_the_cluster() -> None:
    """Each carries the label by which a cluster's deletion finds what stands beside it."""
    engine = FakeEngine()

    found = start(engine)

    assert set(found.servers) == set(SITES.servers)
    assert len(engine.containers) == len(SITES.servers) + 1
    for labels in engine.containers.values():
        assert labels["servicelab.cluster"] == "kind"
    for command in engine.commands:
        if command[0] in ("run", "create"):
            assert "--cap-drop=ALL" in command
            assert "--pull=never" in command


def test_the_name_server_gets_its_zones_before_it_starts() -> None:
    """A Corefile and one file for each zone, with the addresses that the servers have got."""
    engine = FakeEngine()

    found = start(engine)

    verbs = [command[0] for command in engine.commands]
    assert verbs.index("cp") < verbs.index("start")
    with tarfile.open(fileobj=io.BytesIO(engine.copied)) as tar:
        files = {Path(each.name).name: tar.extractfile(each) for each in tar}
        texts = {name: file.read().decode() for name, file in files.items() if file}
    assert set(texts) == {"Corefile", *SITES.zones}
    assert all(zone in texts["Corefile"] for zone in SITES.zones)
    assert all(address in texts["example.net"] for address in found.servers.values())


@pytest.mark.parametrize("fails", ["edge-2", "coredns:1", "cp", "start"])
def test_nothing_is_left_of_a_world_that_does_not_start(fails: str) -> None:
    """When one container fails the others are removed."""
    engine = FakeEngine(fails)

    with pytest.raises(InfrastructureError):
        start(engine)

    assert engine.containers == {}


class FakeDns:
    """A cluster DNS that notes what it is told."""

    said: list[str]
    server: str | None

    def __init__(self, cluster: Any) -> None:
        pass

    def forwards_to(self) -> str | None:
        """The server of the last `forward`."""
        return FakeDns.server

    def forward(self, zones: Any, server: str) -> None:
        """Take down a server."""
        FakeDns.said.append("forward")
        FakeDns.server = server

    def put_back(self) -> None:
        """Take down that it is over."""
        FakeDns.said.append("put back")
        FakeDns.server = None


class FakeCluster:
    """A cluster with a folder, and nothing else."""

    name = "kind"
    going = False
    engine = None
    progress = Progress(quiet=True)
    bundle = type("Bundle", (), {"probe_image": "probe:1"})
    extras = type("Extras", (), {"name_server_image": staticmethod(lambda: "coredns:1")})


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is done to the cluster, in order, by a world without containers."""
    done: list[str] = []
    FakeDns.said, FakeDns.server = done, None

    def start(*args: Any, **kwargs: Any) -> Containers:
        done.append("start")
        return RUNNING

    def find(*args: Any) -> Containers | None:
        standing = [each for each in done if each in ("start", "remove")]
        return RUNNING if standing[-1:] == ["start"] else None

    monkeypatch.setattr(world, "ClusterDns", FakeDns)
    monkeypatch.setattr(world, "cluster_folder", lambda name: tmp_path)
    monkeypatch.setattr(world, "start_containers", start)
    monkeypatch.setattr(world, "find_containers", find)
    monkeypatch.setattr(world, "remove_containers", lambda *args: done.append("remove"))
    monkeypatch.setattr(world._Setting, "_prove", lambda *args: done.append("prove"))
    return done


def beside() -> Any:
    """The world beside the fake cluster."""
    return world_beside(FakeCluster())  # type: ignore[arg-type]


def test_it_is_set_up_and_taken_away(said: list[str]) -> None:
    """Containers, then the cluster's DNS; the DNS is put back before they go."""
    with beside() as standing:
        assert standing.addresses("www.example.com") == {"172.18.0.7", "172.18.0.8"}
        assert said == ["start", "forward", "prove"]

    assert said[3:] == ["put back", "remove"]


def test_a_failing_test_does_not_keep_it(said: list[str]) -> None:
    """It is taken away when what is done in it raises, Ctrl-C too."""
    with pytest.raises(KeyboardInterrupt), beside():
        raise KeyboardInterrupt

    assert said[-2:] == ["put back", "remove"]


def test_a_cluster_that_goes_takes_it_along(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is put back in it before."""
    with beside():
        monkeypatch.setattr(FakeCluster, "going", True)

    assert said == ["start", "forward", "prove"]


def test_a_world_that_can_not_be_proved_is_taken_away(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun is undone, and the reason is told."""

    def fail(*args: Any) -> None:
        raise InfrastructureError("it does not answer")

    monkeypatch.setattr(world._Setting, "_prove", fail)
    with pytest.raises(InfrastructureError, match="does not answer"), beside():
        pass

    assert said[-2:] == ["put back", "remove"]


def test_those_who_come_later_share_it(said: list[str]) -> None:
    """The second to come sets nothing up; the last to leave takes it away."""
    with beside(), beside() as second:
        assert isinstance(second, World)
        assert said == ["start", "forward", "prove", "prove"]

    assert said[4:] == ["put back", "remove"]


def test_what_a_killed_process_left_is_used_and_then_taken_away(
    said: list[str], tmp_path: Path
) -> None:
    """A user that is dead does not count."""
    setting = world._Setting(FakeCluster(), SITES)  # type: ignore[arg-type]
    setting.enter()
    dead = dataclasses.replace(process_identity(), started=1.0).to_dict()
    (tmp_path / "world.json").write_text(json.dumps([dead]))

    with beside():
        assert said == ["start", "forward", "prove", "prove"]

    assert said[4:] == ["put back", "remove"]


def test_the_containers_are_told_apart_by_their_label() -> None:
    """A world with a container missing, or one that is stopped, does not stand."""
    engine: Any = FakeEngine()
    start(engine)
    assert containers.find_containers(engine, "kind", SITES)

    del engine.containers[f"kind-world-{NAME_SERVER}"]
    assert containers.find_containers(engine, "kind", SITES) is None
