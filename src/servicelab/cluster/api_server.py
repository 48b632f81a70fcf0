"""Flags of the API server: changed in its static manifest, put back, proved each time.

The kubelet watches the folder of static manifests. A manifest that is moved there replaces the old
one in one step, so the kubelet never reads half of it, and it restarts the API server by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from servicelab.cluster.lease import cluster_folder
from servicelab.errors import InfrastructureError
from servicelab.verdict import Missing, NotProved, consistently, deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster.kind_cluster import Cluster

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
#: On the same file system, in a folder that nobody watches.
_DRAFT = "/etc/kubernetes/kube-apiserver.yaml.draft"
#: The process's own command line, NUL between its words; on unless --profiling=false.
_COMMAND_LINE = "/debug/pprof/cmdline"
_READY = "/readyz"
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


@dataclass(frozen=True, slots=True)
class Serving:
    """What the API server says of itself.

    Attributes:
        command: its command line; empty if it does not answer.
        problem: why it is not ready to serve; "" if it is.
    """

    command: tuple[str, ...]
    problem: str

    def __str__(self) -> str:
        return self.problem or "serving"


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
        yield _put(cluster, changed)
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
    never_restarted = serving(cluster).command == command_in(original)
    took = _put(cluster, original)
    if never_restarted:
        _stays(cluster)
    record.unlink()
    return took


def is_changed(cluster_name: str) -> bool:
    """Is the API server of a cluster written down as changed?"""
    return (cluster_folder(cluster_name) / _RECORD).exists()


_RECORD = "kube-apiserver.yaml.before"


def _record(cluster: Cluster) -> Path:
    return cluster_folder(cluster.name) / _RECORD


def _put(cluster: Cluster, manifest: str) -> Restart:
    """Move a manifest into its place, and wait until its process serves."""
    wanted = command_in(manifest)
    node = _control_plane(cluster)
    began = time.monotonic()
    if _read(cluster) != manifest:
        cluster.docker_exec(node, "install", "--mode=600", "/dev/stdin", _DRAFT, input=manifest)
        cluster.docker_exec(node, "mv", "--no-target-directory", _DRAFT, MANIFEST)
    silent: list[float] = []

    def look() -> Serving:
        seen = serving(cluster)
        if not seen.command:
            silent.append(time.monotonic())
        return seen

    def serves(seen: Serving) -> bool | Missing:
        if seen.command and seen.command != wanted:
            return Missing("the old process still answers")
        return not seen.problem

    try:
        eventually(
            look,
            serves,
            deadline=deadlines.current().api_serves,
            expecting=f"the API server of {cluster.name} to serve as {MANIFEST} says",
            every=0.1,
        )
    except NotProved as error:
        raise InfrastructureError(
            f"the API server did not come back: {error}",
            remedy=f"see `crictl ps -a` and `journalctl -u kubelet` on {node}",
        ) from None
    now = time.monotonic()
    return Restart(now - began, now - silent[0] if silent else 0.0)


def _stays(cluster: Cluster) -> None:
    """See that the kubelet is not about to end the process because of a change that was undone.

    An API server that is told to end says at once that it is not ready.
    """
    try:
        consistently(
            lambda: serving(cluster),
            lambda seen: not seen.problem,
            for_=deadlines.current().stays_so,
            expecting=f"the API server of {cluster.name} to go on serving",
        )
    except NotProved:
        _put(cluster, _read(cluster))


def serving(cluster: Cluster) -> Serving:
    """Ask the API server for its command line, and whether it is ready."""
    from urllib3.exceptions import HTTPError

    # The client's own pool has its certificates; its own calls would try again by themselves.
    client: Any = cluster.client
    pool, host = client.rest_client.pool_manager, client.configuration.host

    def get(path: str) -> Any:
        return pool.request("GET", f"{host}{path}", timeout=_ANSWER_SECONDS, retries=False)

    try:
        told, ready = get(_COMMAND_LINE), get(_READY)
    except HTTPError as error:
        return Serving((), f"no answer: {type(error).__name__}")
    if told.status != 200:
        return Serving((), f"it does not tell its command line: {told.status} {told.reason}")
    command = tuple(told.data.decode("utf-8", "replace").rstrip("\0").split("\0"))
    problem = "" if ready.status == 200 else f"not ready: {ready.status} {ready.reason}"
    return Serving(command, problem)


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
