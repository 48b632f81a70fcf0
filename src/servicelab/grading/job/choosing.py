"""Which cluster a Job runs in, and how its nodes get the grader's image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from servicelab.bundle.grader import grader_image
from servicelab.cluster.existing import ExistingCluster
from servicelab.errors import UsageError
from servicelab.explain.choosing import any_cluster, our_cluster
from servicelab.manifests import checked_registry
from servicelab.progress import Progress

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

#: Asks containerd for an image by its name; prints that, or nothing.
_LIST = ("ctr", "--namespace=k8s.io", "images", "list", "--quiet")


def chosen(
    context: str, kubeconfig: Path | None, name: str, registry: str, progress: Progress
) -> ExistingCluster:
    """The cluster that the options mean.

    Args:
        context: of a kubeconfig; "" if `name` is given.
        kubeconfig: the file with it; None for where kubectl looks.
        name: of a kept cluster of servicelab's own, whose nodes are given the image.
        registry: where the nodes pull images from; "" for where the names say.
        progress: where its steps are told.

    Raises:
        UsageError: there is no such cluster, or not exactly one is meant.
        InfrastructureError: ours does not run, or the image can't be built.
    """
    if bool(context) == bool(name):
        raise UsageError(
            "one cluster must be named to grade on",
            remedy="give --context for one that is there, or --cluster-name for one of "
            "`servicelab up`",
        )
    if context:
        any_cluster(context, kubeconfig)  # refuses what can't be used
        where = checked_registry(registry) if registry else None
        return ExistingCluster(context, kubeconfig, registry=where, progress=progress)
    if registry or kubeconfig:
        raise UsageError(
            "--registry and --kubeconfig are for a cluster that servicelab did not make",
            remedy="leave them out, or give --context instead of --cluster-name",
        )
    ours = our_cluster(name).cluster
    ours.progress = progress
    image = grader_image()
    if not _is_there(ours, image):
        with progress.step(f"giving the nodes of {name} the image {image}"):
            ours.load_archive(ours.extras.archive(image))
    return ExistingCluster(f"kind-{name}", Path(ours.kubeconfig_path), progress=progress)


def _is_there(cluster: Cluster, image: str) -> bool:
    return all(
        cluster.docker_exec(node.name, *_LIST, f"name=={image}").strip() for node in cluster.nodes
    )
