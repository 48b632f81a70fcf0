"""The cluster that this process runs in, as a Pod: reached with its ServiceAccount's token."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from servicelab.cluster.existing import ExistingCluster
from servicelab.errors import UsageError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class InCluster(ExistingCluster):
    """The cluster around this Pod. Whoever made the Pod has put the probes onto its nodes.

    Args:
        name: what it is called in messages: the context that its users know it by.
        registry: where its nodes pull servicelab's images from; None leaves their names.
    """

    def __init__(self, name: str, *, registry: str | None = None) -> None:
        super().__init__(name, registry=registry)

    def create(self, config_file: str | Path | None = None) -> None:
        """Learn its proxy mode; nothing is put there.

        Raises:
            InfrastructureError: it does not answer.
        """
        self.mode = self.configured_mode()

    def release(self) -> None:
        """Hang up: the probes are somebody else's."""
        self.close()

    @cached_property
    def client(self) -> ApiClient:
        """The official Kubernetes client, as the Pod's ServiceAccount."""
        return client_of_pod()

    @property
    def api(self) -> Any:
        """Not needed where nobody brings code for pytest-kind."""
        self._not_asked("pykube's client")

    def kubectl(self, *args: str, **kwargs: Any) -> NoReturn:
        """There is none in a Pod."""
        self._not_asked("kubectl")


def client_of_pod() -> ApiClient:
    """The official client, with the token of the Pod that this process runs in.

    Raises:
        UsageError: it runs in none.
    """
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException, load_incluster_config

    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise UsageError(f"this is no Pod with a ServiceAccount's token: {error}") from None
    return ApiClient(configuration)


def own_namespace() -> str:
    """The namespace of the Pod that this process runs in.

    Raises:
        UsageError: it runs in none.
    """
    try:
        return _NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"this is no Pod: {_NAMESPACE}: {error.strerror}") from None
