"""Flags of the API server: changed in its static manifest, put back, proved each time.

The kubelet watches the folder of static manifests: it ends a Pod whose manifest goes, and starts
one whose manifest comes. It is moved there in one step, so the kubelet never reads half of it.

What that takes: the old process ends only when its grace period is over, as long as somebody
watches something (30 s by default, less on our clusters: see `config.API_SERVER_PATCH`). If a
manifest is edited in its place, the kubelet finds meanwhile that it can't start the new Pod yet,
and tries again 10 to 15 s later (its back-off for Pods). So the old manifest is taken out here, and
the new one put in when the old Pod is gone: then there is nothing to back off from.

Whoever watches the API backs off as well, twice as long with each time that it is away within two
minutes, up to a minute. So kube-proxy is halted meanwhile (it is not started anew: in nftables mode
it may begin with empty maps), and the others who watch are started anew, which takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from servicelab.cluster.lease import cluster_folder
from servicelab.errors import InfrastructureError
from servicelab.verdict import NotProved, deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster.kind_cluster import Cluster

T = TypeVar("T")

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
#: On the same file system, in a folder that nobody watches.
_DRAFT = "/etc/kubernetes/kube-apiserver.yaml.draft"
_PROCESS = "kube-apiserver"
_PORT = 6443
#: Processes that watch the API and can be started anew; the kernel cuts a name at 15 characters.
_STARTED_ANEW = frozenset({"kube-controller", "kube-scheduler", "coredns"})
_HALTED = "kube-proxy"
_CURL = ("--silent", "--show-error", "--fail", "--insecure", "--max-time", "2")
#: What the kubelet keeps of a Pod until it has done with it.
_PODS = "/var/lib/kubelet/pods"
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Restart:
    """How long a restart of the API server took.

    Attributes:
        seconds: from the manifest's change until the new process served.
        start_seconds: of these, from when the old one was gone and the new manifest was there.
    """

    seconds: float
    start_seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.start_seconds:.1f} s of them for the new one to start"


def command_in(manifest: str) -> tuple[str, ...]:
    """The API server's command line in its static manifest.

    Raises:
        InfrastructureError: it is no such manifest.
    """
    return tuple(_container(_pod(manifest))["command"])


def with_flags(manifest: str, flags: Mapping[str, str]) -> str:
    """The static manifest with some flags set, and everything else as it was.

    Args:
        manifest: its text.
        flags: values by name, without the dashes: {"service-node-port-range": "30000-40000"}.

    Raises:
        InfrastructureError: it is not the API server's manifest.
    """
    pod = _pod(manifest)
    container = _container(pod)
    ours = tuple(f"--{name}=" for name in flags)
    container["command"] = [
        *(word for word in container["command"] if not word.startswith(ours)),
        *(f"--{name}={value}" for name, value in flags.items()),
    ]
    return yaml.safe_dump(pod, sort_keys=False)


@contextmanager
def changed_flags(cluster: Cluster, flags: Mapping[str, str]) -> Iterator[Restart]:
    """Let the API server run with other flags for a while; gives how long its restart took.

    What was there is written down before it is changed: a later start of a kept cluster puts it
    back if this process can't.

    Args:
        cluster: nobody else may need its API server meanwhile.
        flags: as `with_flags` takes them.

    Raises:
        InfrastructureError: it did not come back, with these flags or afterwards without them.
    """
    restore_flags(cluster)
    original = _read(cluster)
    changed = with_flags(original, flags)
    _record(cluster).write_text(original, encoding="utf-8")
    try:
        yield _swap(cluster, changed)
    finally:
        restore_flags(cluster)


def restore_flags(cluster: Cluster) -> Restart | None:
    """Put the API server's manifest back, if it is written down as changed; else do nothing.

    Raises:
        InfrastructureError: it did not come back; the record stays.
    """
    record = _record(cluster)
    if not record.exists():
        return None
    # Also if it is as it was: the kubelet may not have seen yet that it was changed.
    took = _swap(cluster, record.read_text(encoding="utf-8"))
    record.unlink()
    return took


def is_changed(cluster_name: str) -> bool:
    """Is the API server of a cluster written down as changed?"""
    return (cluster_folder(cluster_name) / _RECORD).exists()


_RECORD = "kube-apiserver.yaml.before"


def _record(cluster: Cluster) -> Path:
    return cluster_folder(cluster.name) / _RECORD


def _swap(cluster: Cluster, manifest: str) -> Restart:
    """Take the manifest out, put this one in, and wait until its process serves."""
    node = _control_plane(cluster)
    began = time.monotonic()
    cluster.docker_exec(node, "install", "--mode=600", "/dev/stdin", _DRAFT, input=manifest)
    with _halted(cluster):
        cluster.docker_exec(node, "rm", "--force", MANIFEST)
        try:
            _until_gone(cluster)
        finally:
            cluster.docker_exec(node, "mv", "--no-target-directory", _DRAFT, MANIFEST)
        gone = time.monotonic()
        _until_it_serves(cluster, command_in(manifest))
    _until_it_answers(cluster)
    now = time.monotonic()
    _on_every_node(cluster, _start_watchers_anew)
    return Restart(now - began, now - gone)


@contextmanager
def _halted(cluster: Cluster) -> Iterator[None]:
    """Halt kube-proxy on every node: it does not find out what it does not see."""

    def signal(name: str) -> None:
        _on_every_node(
            cluster,
            lambda cluster, node: cluster.docker_exec(
                node, "pkill", "--signal", name, "--exact", _HALTED
            ),
        )

    try:
        signal("STOP")
        yield
    finally:
        signal("CONT")


def _start_watchers_anew(cluster: Cluster, node: str) -> None:
    """Let nobody sit out the pause that he makes after the API server was away."""
    listed = cluster.docker_exec(node, "ps", "-A", "-o", "pid=,comm=").splitlines()
    found = [line.split() for line in listed]
    pids = [pid for pid, name, *_ in found if name in _STARTED_ANEW]
    if pids:
        cluster.docker_exec(node, "kill", "-KILL", *pids)
    # A new kubelet starts them again at once: it has not counted how often that was.
    cluster.docker_exec(node, "systemctl", "restart", "kubelet")


def _on_every_node(cluster: Cluster, act: Callable[[Cluster, str], object]) -> None:
    with ThreadPoolExecutor(max_workers=len(cluster.nodes)) as acting:
        list(acting.map(lambda node: act(cluster, node.name), cluster.nodes))


def _until_gone(cluster: Cluster) -> None:
    """Wait until the kubelet has done with the API server's Pod."""
    node = _control_plane(cluster)
    of_pod = (_PODS, "-mindepth", "3", "-maxdepth", "3", "-path", f"*/containers/{_PROCESS}")
    _wait(
        cluster,
        lambda: cluster.docker_exec(node, "find", *of_pod).split(),
        lambda found: not found,
        f"the kubelet of {node} to end the API server",
        # What the Pod had is gone a moment before the kubelet lets another one take its place.
        in_a_row=3,
    )


def _until_it_serves(cluster: Cluster, command: tuple[str, ...]) -> None:
    """Wait until the API server says on its own node that it is ready, and runs as it should."""
    node = _control_plane(cluster)
    listing = ("ps", "-ww", "-A", "-o", "args=")

    def look() -> str:
        # Nobody else can have the port: what runs is what answers.
        if " ".join(command) not in cluster.docker_exec(node, *listing).splitlines():
            return "no process has that command line"
        return cluster.docker_exec(node, "curl", *_CURL, f"https://127.0.0.1:{_PORT}/readyz")

    _wait(
        cluster,
        look,
        lambda said: said == "ok",
        f"the API server of {cluster.name} to serve as {MANIFEST} says",
    )


def _until_it_answers(cluster: Cluster) -> None:
    """Wait until it answers us."""
    from urllib3.exceptions import HTTPError

    # The client's own pool has its certificates; its own calls would try again by themselves.
    client: Any = cluster.client
    pool, host = client.rest_client.pool_manager, client.configuration.host

    def look() -> str:
        try:
            ready = pool.request("GET", f"{host}/readyz", timeout=_ANSWER_SECONDS, retries=False)
        except HTTPError as error:
            return f"no answer: {type(error).__name__}"
        return "" if ready.status == 200 else f"not ready: {ready.status} {ready.reason}"

    _wait(
        cluster, look, lambda problem: not problem, f"the API server of {cluster.name} to answer us"
    )


def _wait(
    cluster: Cluster,
    ask: Callable[[], T],
    until: Callable[[T], bool],
    expecting: str,
    *,
    in_a_row: int = 1,
) -> None:
    try:
        eventually(
            ask,
            until,
            deadline=deadlines.current().api_serves,
            expecting=expecting,
            every=0.2,
            in_a_row=in_a_row,
            retry_on=(InfrastructureError,),
        )
    except NotProved as error:
        raise InfrastructureError(
            f"the API server did not come back: {error}",
            remedy=f"see `crictl ps -a` and `journalctl -u kubelet` on {_control_plane(cluster)}",
        ) from None


def _read(cluster: Cluster) -> str:
    return cluster.docker_exec(_control_plane(cluster), "cat", MANIFEST)


def _control_plane(cluster: Cluster) -> str:
    return cluster.nodes[0].name


def _pod(manifest: str) -> dict[str, Any]:
    try:
        pod = yaml.safe_load(manifest)
    except yaml.YAMLError:
        pod = None
    _container(pod)
    return dict(pod)


def _container(pod: Any) -> Any:
    try:
        (container,) = (
            each for each in pod["spec"]["containers"] if each["command"][0] == "kube-apiserver"
        )
    except (KeyError, TypeError, ValueError, IndexError):
        raise InfrastructureError(
            f"{MANIFEST} is not the static manifest of one API server",
            remedy="servicelab changes flags only on a cluster that kubeadm made",
        ) from None
    return container
