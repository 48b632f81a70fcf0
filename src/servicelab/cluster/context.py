"""A cluster by a context of a kubeconfig, read only because the user says so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from servicelab.errors import UsageError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


def client_of_context(context: str | None, kubeconfig: Path | None) -> ApiClient:
    """The official client for a context.

    Args:
        context: None is the file's current one.
        kubeconfig: None is where kubectl looks: $KUBECONFIG, else ~/.kube/config.

    Raises:
        UsageError: there is no such file or context.
    """
    from kubernetes import config
    from kubernetes.config.config_exception import ConfigException

    try:
        client: ApiClient = config.new_client_from_config(  # type: ignore[no-untyped-call]
            str(kubeconfig) if kubeconfig else None, context, persist_config=False
        )
    except ConfigException as error:
        where = kubeconfig or "the kubeconfig"
        raise UsageError(
            f"{where} can't be used for the context {context or '(its current one)'}: {error}",
            remedy="`kubectl config get-contexts` lists what there is",
        ) from None
    return client
