"""A private registry beside a cluster, in a container; the cluster's nodes pull from it.

It speaks plain HTTP and wants no login: only the cluster's network and this machine reach it. Its
name is nobody's (RFC 6761 keeps `.test` for that), so that a node that was not led to it pulls from
nowhere.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from servicelab.errors import InfrastructureError, UsageError
from servicelab.manifests import ImageReference
from servicelab.registry import hosts
from servicelab.registry.access_log import Request, parse_log
from servicelab.registry.crane import Crane
from servicelab.vantage.outside import CLUSTER_LABEL
from servicelab.verdict import NotProved, deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

T = TypeVar("T")

#: What the references of its images begin with.
REGISTRY_NAME = "registry.servicelab.test"
NETWORK = "kind"
PORT = 5000
ANSWER_TIMEOUT_S = 5.0


class PrivateRegistry:
    """A running registry; `ensure_registry` gives it.

    Args:
        cluster: the one that it stands beside.
        container: its name.
        ip: its address on the cluster's network.
        published: HOST:PORT where this machine reaches it.

    Attributes:
        name: what image references begin with; the nodes know where that is.
    """

    name = REGISTRY_NAME

    def __init__(self, cluster: Cluster, container: str, ip: str, published: str) -> None:
        self._cluster = cluster
        self.container = container
        self.ip = ip
        self.published = published

    def reference(self, image: str) -> str:
        """What an image is called in this registry, as a rewritten manifest has it.

        Raises:
            UsageError: it is no image's name.
        """
        try:
            return str(ImageReference.parse(image).moved_to(self.name))
        except ValueError as error:
            raise UsageError(f"the image {image!r} can't be read: {error}") from None

    def push(self, image: str) -> str:
        """Push an image of the bundle; returns its reference here.

        Not one that the nodes came with: once a kubelet has pulled an image, it trusts a copy of
        the same id under another name only after a pull by that name (since Kubernetes 1.35).

        Args:
            image: as the labs' manifests name it: "quay.io/metallb/speaker:v0.15.3".

        Raises:
            UsageError: the bundle has no such image.
            InfrastructureError: the registry refuses it.
        """
        reference = self.reference(image)
        archive = self._cluster.extras.archive(image)
        self._ask(lambda crane, at: crane.push(archive, at), reference)
        return reference

    def digest(self, reference: str) -> str:
        """The digest of an image here, by the reference that `push` returned; "" if it has none."""
        return self._ask(lambda crane, at: crane.digest(at), reference)

    def requests(self) -> list[Request]:
        """Every request since it started, in order."""
        return parse_log(self._cluster.engine.docker("logs", self.container))

    def pulled(self, node: str) -> dict[str, str]:
        """The images that a node's containerd has from here: digests by full name."""
        return hosts.images(self._cluster, node, self.name)

    def configure_nodes(self) -> None:
        """Lead every node's containerd here.

        Raises:
            InfrastructureError: a node's containerd can't be led.
        """
        address = f"{self.ip}:{PORT}"
        self._on_nodes(lambda node: hosts.configure(self._cluster, node, self.name, address))

    def remove(self) -> None:
        """Take away the container, what the nodes know of it, and what they pulled from it.

        Pods that run one of its images go on running. Twice does no harm.

        Raises:
            InfrastructureError: a node could not be put back; everything else was.
        """
        try:
            self._on_nodes(self._clean)
        finally:
            _remove_container(self._cluster, self.container)

    def _clean(self, node: str) -> None:
        hosts.unconfigure(self._cluster, node, self.name)
        hosts.forget_images(self._cluster, node, self.name)

    def _on_nodes(self, work: Callable[[str], None]) -> None:
        """Do something on every node at once; an error comes up when all are done."""
        nodes = [node.name for node in self._cluster.nodes]
        with ThreadPoolExecutor(max_workers=len(nodes)) as at_once:
            running = [at_once.submit(work, node) for node in nodes]
        for each in running:
            each.result()

    def _ask(self, question: Callable[[Crane, str], T], reference: str) -> T:
        image = ImageReference.parse(reference)
        at = str(ImageReference(self.published, image.path, image.tag, image.digest))
        try:
            return question(Crane(self._cluster.extras.crane(), self.published), at)
        except UsageError as error:
            # The user named nothing: it is our own registry that does not do its work.
            raise InfrastructureError(
                error.problem, remedy=f"see: docker logs {self.container}"
            ) from error


def ensure_registry(cluster: Cluster) -> PrivateRegistry:
    """The registry beside a cluster: the one that runs, else a new and empty one.

    Every node is led to it. Processes that share a cluster share its registry.

    Raises:
        InfrastructureError: it does not start, or a node can't be led to it.
    """
    from servicelab.cluster import cluster_lock

    with cluster_lock(cluster.name):
        registry = _running(cluster)
        if registry is None:
            registry = _start(cluster)
        else:
            registry.configure_nodes()
        return registry


def _container_name(cluster: Cluster) -> str:
    return f"{cluster.name}-registry"


def _running(cluster: Cluster) -> PrivateRegistry | None:
    name = _container_name(cluster)
    done = cluster.engine.try_docker("inspect", name)
    if done.returncode:
        return None
    (seen,) = json.loads(done.stdout)
    settings = seen["NetworkSettings"]
    ports = settings["Ports"].get(f"{PORT}/tcp")
    if not seen["State"]["Running"] or not ports:
        return None
    return PrivateRegistry(
        cluster,
        name,
        settings["Networks"][NETWORK]["IPAddress"],
        f"{ports[0]['HostIp']}:{ports[0]['HostPort']}",
    )


def _start(cluster: Cluster) -> PrivateRegistry:
    name = _container_name(cluster)
    # What a run that was killed has left.
    _remove_container(cluster, name)
    try:
        cluster.engine.docker(
            "run",
            "--detach",
            "--pull=never",
            f"--name={name}",
            f"--network={NETWORK}",
            f"--publish=127.0.0.1::{PORT}",
            f"--label={CLUSTER_LABEL}={cluster.name}",
            "--label=app.kubernetes.io/managed-by=servicelab",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            cluster.extras.registry_image(),
        )
        registry = _running(cluster)
        if registry is None:
            raise InfrastructureError(f"the registry {name} ended at once: {_said(cluster, name)}")
        _wait_until_it_serves(cluster, registry)
        # The nodes of a kept cluster may have images of an earlier registry of this name.
        registry._on_nodes(registry._clean)
        registry.configure_nodes()
    except BaseException:
        with contextlib.suppress(InfrastructureError):
            _remove_container(cluster, name)
        raise
    return registry


def _remove_container(cluster: Cluster, name: str) -> None:
    cluster.engine.docker("rm", "--force", "--volumes", name)


def _wait_until_it_serves(cluster: Cluster, registry: PrivateRegistry) -> None:
    host, _, port = registry.published.rpartition(":")

    def ask() -> str:
        connection = http.client.HTTPConnection(host, int(port), timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request("GET", "/v2/")
            return str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as error:
            return str(error)
        finally:
            connection.close()

    try:
        eventually(
            ask,
            lambda answer: answer == "200",
            deadline=deadlines.current().registry_serves,
            expecting=f"the registry at {registry.published} to answer",
            every=0.05,
        )
    except NotProved as error:
        raise InfrastructureError(
            f"the registry {registry.container} does not answer: "
            f"{_said(cluster, registry.container)}"
        ) from error


def _said(cluster: Cluster, name: str) -> str:
    from servicelab.engine.engine import last_lines

    done = cluster.engine.try_docker("logs", name)
    return last_lines(done.stderr.decode(errors="replace"), 1)
