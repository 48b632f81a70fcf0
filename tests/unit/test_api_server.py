"""The API server's flags: changed, put back whatever happens, and proved by the process itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace as Thing
from typing import Any

import pytest
import yaml
from urllib3.exceptions import NewConnectionError

from servicelab.cluster import api_server
from servicelab.cluster.api_server import (
    changed_flags,
    command_in,
    is_changed,
    restore_flags,
    with_flags,
)
from servicelab.cluster.node import Node
from servicelab.errors import InfrastructureError
from servicelab.verdict import deadlines

FLAGS = {"service-node-port-range": "30000-40000"}
MANIFEST = """\
apiVersion: v1
kind: Pod
metadata:
  # a comment that must come back
  name: kube-apiserver
spec:
  containers:
  - command:
    - kube-apiserver
    - --secure-port=6443
    image: registry.k8s.io/kube-apiserver:v1.37.0
    name: kube-apiserver
  hostNetwork: true
"""


class FakeNode:
    """A control-plane node whose kubelet needs a few looks for each thing it does."""

    name = "fake"
    nodes = (
        Node("fake-control-plane", "172.18.0.2", "control-plane"),
        Node("fake-worker", "172.18.0.3", "worker"),
    )

    def __init__(self) -> None:
        self.files = {api_server.MANIFEST: MANIFEST}
        self.runs = command_in(MANIFEST)
        self.changes = 0
        self.looks = 0
        self.looks_until_ended = 2
        self.looks_until_started = 4
        self.looks_until_ready = 5
        self.comes_back = True
        self.anew: list[str] = []
        self.client = Thing(
            rest_client=Thing(pool_manager=self), configuration=Thing(host="https://api")
        )

    def docker_exec(self, node: str, *argv: str, input: str | None = None) -> str:
        """What is done to the manifest and looked at in the node's container."""
        match argv:
            case ("pkill", "--signal", signal, "--exact", "kube-proxy"):
                self.anew.append(f"{node}: {signal} kube-proxy")
                return ""
            case ("kill", "-KILL", *pids):
                self.anew.append(f"{node}: kill {' '.join(pids)}")
                return ""
            case ("systemctl", "restart", "kubelet"):
                self.anew.append(f"{node}: restart kubelet")
                return ""
            case ("ps", "-A", "-o", "pid=,comm="):
                control_plane = "  12 kube-controller\n  13 kube-scheduler\n"
                return ("   1 systemd\n  11 kube-proxy\n  14 sh <defunct>\n") + (
                    control_plane if node == "fake-control-plane" else ""
                )
        assert node == "fake-control-plane"
        match argv:
            case ("cat", path):
                return self.files[path]
            case ("rm", "--force", path):
                self.files.pop(path, None)
                self._changed()
            case ("install", "--mode=600", "/dev/stdin", path):
                assert input is not None
                assert not path.startswith("/etc/kubernetes/manifests/"), "the kubelet looks there"
                self.files[path] = input
            case ("mv", "--no-target-directory", draft, path):
                self.files[path] = self.files.pop(draft)
                self._changed()
            case ("find", "/var/lib/kubelet/pods", *_):
                self._look()
                return "/var/lib/kubelet/pods/1/containers/kube-apiserver\n" if self.runs else ""
            case ("ps", *_):
                self._look()
                return "\n".join(["/sbin/init", " ".join(self.runs) or "sleep 1", "kubelet --x"])
            case ("curl", *_, "https://127.0.0.1:6443/readyz"):
                self._look()
                if not self.runs or self.looks <= self.looks_until_ready:
                    raise InfrastructureError("curl: (22) The requested URL returned error: 500")
                return "ok"
            case _:
                raise AssertionError(argv)
        return ""

    def request(self, method: str, url: str, **_: Any) -> Any:
        """It answers from outside of its node as well, if it runs."""
        assert url == "https://api/readyz"
        if not self.runs:
            raise NewConnectionError(Thing(), "refused")  # type: ignore[arg-type]
        return Thing(status=200, reason="OK")

    def _changed(self) -> None:
        self.changes += 1
        self.looks = 0

    def _look(self) -> None:
        self.looks += 1
        if not self.changes:
            return
        if self.looks == self.looks_until_ended:
            self.runs = ()
        if self.looks == self.looks_until_started and self.comes_back:
            manifest = self.files.get(api_server.MANIFEST)
            self.runs = command_in(manifest) if manifest else ()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A control-plane node, and a cache folder of the test's own."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path))
    api_server.cluster_folder("fake").mkdir(parents=True)
    return FakeNode()


@pytest.fixture
def _impatient() -> Iterator[None]:
    before = deadlines.use(deadlines.parse(["api_serves=0.3"]))
    yield
    deadlines.use(before)


def test_a_flag_is_set_and_all_else_stays() -> None:
    """A flag that is there is replaced, one that is not is added; nothing else changes."""
    once = with_flags(MANIFEST, FLAGS)
    twice = with_flags(once, {"service-node-port-range": "30000-30100", "v": "2"})

    assert command_in(once) == (*command_in(MANIFEST), "--service-node-port-range=30000-40000")
    assert command_in(twice)[-2:] == ("--service-node-port-range=30000-30100", "--v=2")
    assert len(command_in(twice)) == 4
    pods = [yaml.safe_load(text) for text in (MANIFEST, once)]
    for pod in pods:
        del pod["spec"]["containers"][0]["command"]
    assert pods[0] == pods[1]


@pytest.mark.parametrize("text", ["", "a: [", "kind: Pod", "spec: {containers: [{command: []}]}"])
def test_what_is_no_api_server_s_manifest_is_refused(text: str) -> None:
    """One sentence; nothing is written."""
    with pytest.raises(InfrastructureError, match="is not the static manifest of one API server"):
        with_flags(text, FLAGS)


def test_the_flags_are_there_inside_and_gone_afterwards(node: Any) -> None:
    """The new process serves with them before the body runs; what was there comes back exactly."""
    with changed_flags(node, FLAGS) as restart:
        assert "--service-node-port-range=30000-40000" in node.runs
        assert is_changed("fake")
        assert restart.seconds >= restart.start_seconds > 0
        assert sorted(node.anew) == [
            "fake-control-plane: CONT kube-proxy",
            "fake-control-plane: STOP kube-proxy",
            "fake-control-plane: kill 12 13",
            "fake-control-plane: restart kubelet",
            "fake-worker: CONT kube-proxy",
            "fake-worker: STOP kube-proxy",
            "fake-worker: restart kubelet",
        ]

    assert node.files == {api_server.MANIFEST: MANIFEST}
    assert node.runs == command_in(MANIFEST)
    assert not is_changed("fake")


@pytest.mark.parametrize("error", [AssertionError, KeyboardInterrupt])
def test_they_go_after_a_failure_and_after_ctrl_c(node: Any, error: type[BaseException]) -> None:
    """Whatever ends the body, the manifest is put back."""
    with pytest.raises(error), changed_flags(node, FLAGS):
        raise error

    assert node.files[api_server.MANIFEST] == MANIFEST
    assert not is_changed("fake")


def test_a_later_start_puts_back_what_a_killed_run_left(node: Any) -> None:
    """The record on disk outlives the process; once all is back it goes."""
    change = changed_flags(node, FLAGS)
    change.__enter__()
    assert is_changed("fake")

    took = restore_flags(node)

    assert took is not None
    assert node.files[api_server.MANIFEST] == MANIFEST
    assert not is_changed("fake")
    assert restore_flags(node) is None


@pytest.mark.parametrize("left", [MANIFEST, with_flags(MANIFEST, FLAGS), None])
def test_whenever_the_run_was_killed_it_is_put_back(node: Any, left: str | None) -> None:
    """Before the change, after it, or between taking the manifest out and putting it in."""
    api_server._record(node).write_text(MANIFEST, encoding="utf-8")
    del node.files[api_server.MANIFEST]
    if left:
        node.files[api_server.MANIFEST] = left
        node.runs = command_in(left)

    restore_flags(node)

    assert node.files == {api_server.MANIFEST: MANIFEST}
    assert node.runs == command_in(MANIFEST)
    assert not is_changed("fake")


@pytest.mark.usefixtures("_impatient")
def test_an_api_server_that_stays_away_is_told(node: Any) -> None:
    """Neither with the flags nor without them: the record stays, for the next start."""
    node.comes_back = False

    with (
        pytest.raises(
            InfrastructureError,
            match=r"the API server did not come back(.|\n)*no process has that command line",
        ),
        changed_flags(node, FLAGS),
    ):
        pytest.fail("the body must not run")

    assert node.files[api_server.MANIFEST] == MANIFEST, "it is put back all the same"
    assert node.anew[-1].endswith("CONT kube-proxy")
    assert is_changed("fake")


@pytest.mark.usefixtures("_impatient")
def test_an_old_process_that_does_not_end_is_told(node: Any) -> None:
    """It is ready all the time, and is not taken for the new one."""
    node.looks_until_ended = node.looks_until_started = 10**6

    with (
        pytest.raises(InfrastructureError) as told,
        changed_flags(node, FLAGS),
    ):
        pytest.fail("the body must not run")

    assert "the kubelet of fake-control-plane to end the API server" in str(told.value)
    assert node.files[api_server.MANIFEST] == MANIFEST, "it is put back all the same"
