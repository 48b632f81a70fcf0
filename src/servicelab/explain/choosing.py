"""Which cluster is meant: one of ours by its name, or anybody's by a kubeconfig's context."""

from __future__ import annotations

from pathlib import Path

from servicelab.errors import InfrastructureError, UsageError
from servicelab.explain.places import FROM, From
from servicelab.explain.reading import Access


def service_named(text: str) -> tuple[str, str]:
    """The namespace and the name in NAMESPACE/SERVICE.

    Raises:
        UsageError: it has another form.
    """
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise UsageError(
            f"{text!r} does not name a Service", remedy="write NAMESPACE/SERVICE, as shop/web"
        )
    return namespace, name


def place_named(text: str | None) -> From | None:
    """The kind of place to ask from; None leaves it open.

    Raises:
        UsageError: there is no such kind.
    """
    found = next((kind for kind in FROM if kind == text), None)
    if text is not None and found is None:
        raise UsageError(
            f"a Service can't be asked from {text!r}", remedy=f"use one of {', '.join(FROM)}"
        )
    return found


def cluster_named(name: str, context: str | None, kubeconfig: Path | None) -> Access:
    """The cluster that a command's options mean: anybody's if they say where, else one of ours.

    Raises:
        UsageError: see `any_cluster` and `our_cluster`.
        InfrastructureError: the same.
    """
    elsewhere = context or kubeconfig
    return any_cluster(context, kubeconfig) if elsewhere else our_cluster(name)


def our_cluster(name: str) -> Access:
    """A cluster that servicelab made, as it is; nothing is started.

    Raises:
        UsageError: servicelab made no cluster of that name.
        InfrastructureError: it is not ready, or no Docker answers that could run it.
    """
    from servicelab.cluster import PROXY_MODES, Cluster, read_lease
    from servicelab.engine import find_engine

    lease = read_lease(name)
    if lease is None:
        raise UsageError(
            f"servicelab has made no cluster {name!r}",
            remedy="name one with --cluster-name (`servicelab status` lists them), or any other "
            "with --context",
        )
    mode = next((mode for mode in PROXY_MODES if mode == lease.mode), None)
    if mode is None:
        raise InfrastructureError(
            f"the cluster {name} is not ready: it is being made, or its proxy mode switched",
            remedy="try again when it is",
        )
    if find_engine() is None:
        raise InfrastructureError(
            f"no Docker answers that could run the cluster {name}",
            remedy="`servicelab up` starts it",
        )
    cluster = Cluster(name, mode=mode)
    return Access(cluster)


def any_cluster(context: str | None, kubeconfig: Path | None) -> Access:
    """A cluster by a context of a kubeconfig.

    Args:
        context: None is the file's current one.
        kubeconfig: None is where kubectl looks: $KUBECONFIG, else ~/.kube/config.

    Raises:
        UsageError: there is no such file or context.
    """
    from servicelab.cluster.context import client_of_context
    from servicelab.cluster.existing import ExistingCluster

    client_of_context(context, kubeconfig)  # refuses what can't be used
    return Access(ExistingCluster(context or _current(kubeconfig), kubeconfig))


def _current(kubeconfig: Path | None) -> str:
    from kubernetes import config

    _, current = config.list_kube_config_contexts(  # type: ignore[no-untyped-call]
        str(kubeconfig) if kubeconfig else None
    )
    return str(current["name"])
