"""Flags of the API server: changed in its static manifest, put back, proved each time.

The kubelet watches the folder of static manifests. A manifest that is moved there replaces the old
one in one step, so the kubelet never reads half of it, and it restarts the API server by itself.

What that takes: the old process ends only when its grace period is over, as long as somebody
watches something (30 s by default, less on our clusters: see `config.API_SERVER_PATCH`). Meanwhile
the kubelet has found that it can't start the new one yet, and tries again 10 to 15 s later (its
back-off for Pods). Where nobody needs to see a plain edit work, the manifest is taken out, and put
in when the old Pod is gone: then there is nothing to back off from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
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
#: What the kubelet keeps of a Pod until it has done with it.
_PODS = "/var/lib/kubelet/pods"
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Restart:
    """How long a restart of the API server took.

    Attributes:
        seconds: from the manifest's change until the new process served.
        silent_seconds: how long of that nothing answered.
    """

    seconds: float
    silent_seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.silent_seconds:.1f} s of them without an answer"


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
        yield _replaced(cluster, changed)
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
    original = record.read_text(encoding="utf-8")
    began = time.monotonic()
    node = _control_plane(cluster)
    # Also if it is as it was: the kubelet may not have seen yet that it was changed.
    cluster.docker_exec(node, "rm", "--force", MANIFEST)
    try:
        _until_gone(cluster)
    finally:
        _move_in(cluster, original)
    took = _until_it_serves(cluster, command_in(original), began)
    record.unlink()
    return took


def is_changed(cluster_name: str) -> bool:
    """Is the API server of a cluster written down as changed?"""
    return (cluster_folder(cluster_name) / _RECORD).exists()


_RECORD = "kube-apiserver.yaml.before"


def _record(cluster: Cluster) -> Path:
    return cluster_folder(cluster.name) / _RECORD


def _replaced(cluster: Cluster, manifest: str) -> Restart:
    """Replace the manifest in one step, and wait until its process serves."""
    began = time.monotonic()
    _move_in(cluster, manifest)
    return _until_it_serves(cluster, command_in(manifest), began)


def _move_in(cluster: Cluster, manifest: str) -> None:
    node = _control_plane(cluster)
    cluster.docker_exec(node, "install", "--mode=600", "/dev/stdin", _DRAFT, input=manifest)
    cluster.docker_exec(node, "mv", "--no-target-directory", _DRAFT, MANIFEST)


def _until_gone(cluster: Cluster) -> None:
    """Wait until the kubelet has done with the API server's Pod."""
    node = _control_plane(cluster)
    of_pod = (_PODS, "-mindepth", "3", "-maxdepth", "3", "-path", f"*/containers/{_PROCESS}")
    _wait(
        cluster,
        lambda: cluster.docker_exec(node, "find", *of_pod).split(),
        lambda found: not found,
        f"the kubelet of {node} to end the API server",
    )


def _until_it_serves(cluster: Cluster, command: tuple[str, ...], began: float) -> Restart:
    silent: list[float] = []

    def look() -> str:
        problem = _not_ready(cluster)
        if problem:
            silent.append(time.monotonic())
            return problem
        # Nobody else can answer on that port: what runs is what answered, unless it ended since.
        return "" if _running(cluster) == " ".join(command) else "the old process still answers"

    _wait(
        cluster,
        look,
        lambda problem: not problem,
        f"the API server of {cluster.name} to serve as {MANIFEST} says",
    )
    now = time.monotonic()
    return Restart(now - began, now - silent[0] if silent else 0.0)


def _wait(
    cluster: Cluster, ask: Callable[[], T], until: Callable[[T], bool], expecting: str
) -> None:
    try:
        eventually(
            ask, until, deadline=deadlines.current().api_serves, expecting=expecting, every=0.1
        )
    except NotProved as error:
        raise InfrastructureError(
            f"the API server did not come back: {error}",
            remedy=f"see `crictl ps -a` and `journalctl -u kubelet` on {_control_plane(cluster)}",
        ) from None


def _not_ready(cluster: Cluster) -> str:
    """Why the API server is not ready to serve; "" if it is."""
    from urllib3.exceptions import HTTPError

    # The client's own pool has its certificates; its own calls would try again by themselves.
    client: Any = cluster.client
    pool, host = client.rest_client.pool_manager, client.configuration.host
    try:
        ready = pool.request("GET", f"{host}/readyz", timeout=_ANSWER_SECONDS, retries=False)
    except HTTPError as error:
        return f"no answer: {type(error).__name__}"
    return "" if ready.status == 200 else f"not ready: {ready.status} {ready.reason}"


def _running(cluster: Cluster) -> str:
    """The command line of the API server's process; "" if there is none."""
    listed = cluster.docker_exec(_control_plane(cluster), "ps", "-ww", "-A", "-o", "args=")
    return next((line for line in listed.splitlines() if line.split()[0] == _PROCESS), "")


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
