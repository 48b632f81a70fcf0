"""MetalLB in a cluster: installed from its native manifest, proved ready, and removed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from servicelab.cluster.lease import cluster_folder, part_lock
from servicelab.engine import users
from servicelab.errors import UsageError
from servicelab.lab.manifests import Document
from servicelab.metallb import webhook
from servicelab.metallb.manifest import CONTROLLER, MANAGED_BY, NAMESPACE, OURS, SPEAKER, prepared
from servicelab.verdict import Missing, deadlines
from servicelab.verdict.watching import watch_until

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

#: The Secret with the webhook's certificate; the manifest has it empty.
CERTIFICATE = "metallb-webhook-cert"
#: Kinds of MetalLB's that people make; what MetalLB itself writes goes with its namespace.
_MADE_BY_PEOPLE = (
    *("ipaddresspools", "l2advertisements", "bgpadvertisements", "bgppeers"),
    *("bfdprofiles", "communities"),
)


@contextmanager
def installed(
    cluster: Cluster,
    manifest: Callable[[], str],
    *,
    at_the_end: Callable[[], object] = lambda: None,
) -> Iterator[None]:
    """MetalLB, ready, for as long as somebody uses it.

    Processes that share a cluster share the installation: the first one installs it, the last one
    removes it.

    Args:
        cluster: gets MetalLB.
        manifest: gives the native manifest's text, with the images that the nodes can have; called
            by each process, while no other installs or removes anything.
        at_the_end: called by the last process, once MetalLB is gone.

    Raises:
        UsageError: there is a MetalLB already that servicelab did not install.
        NotProved: it did not become ready, or did not go.
    """
    folder = cluster_folder(cluster.name) / "metallb-users"
    lock = part_lock(cluster.name, "metallb")

    def leave() -> None:
        users.release(folder)
        # With a cluster that is gone MetalLB is gone too.
        if not users.live_users(folder) and not (cluster.replaced or cluster.going):
            remove(cluster)
            at_the_end()

    with lock:
        _check_whose(cluster)
        first = not users.live_users(folder)
        users.register(folder)
        try:
            text = manifest()
            if first:
                remove(cluster)  # a killed run may have left it
                install(cluster, prepared(text, "MetalLB's native manifest"))
        except BaseException:
            leave()
            raise
    try:
        yield
    finally:
        with lock:
            leave()


def install(cluster: Cluster, documents: list[Document]) -> None:
    """Apply the manifest's objects, and wait for the controller, the speakers and the webhook.

    Raises:
        NotProved: they are not ready within `metallb_ready` and `webhook_answers`; says which.
    """
    with cluster.progress.step(f"installing MetalLB in {cluster.name}"):
        cluster.kubectl(
            *("apply", "--server-side", "--force-conflicts", "--filename=-"),
            input=yaml.safe_dump_all(documents),
        )
        wait_until_ready(cluster)


def wait_until_ready(cluster: Cluster) -> None:
    """Wait for a controller, a speaker on each node, and the webhook.

    Raises:
        NotProved: they are not there within `metallb_ready` and `webhook_answers`.
    """
    from kubernetes.client import AppsV1Api

    _hand_over_certificate(cluster)
    apps = AppsV1Api(cluster.client)
    nodes = len(cluster.nodes)
    _all_ready(
        apps.list_namespaced_daemon_set,
        SPEAKER,
        lambda each: (each.status.number_ready or 0, nodes),
        f"a speaker on each of {nodes} nodes to be ready",
    )
    _all_ready(
        apps.list_namespaced_deployment,
        CONTROLLER,
        lambda each: (each.status.ready_replicas or 0, each.spec.replicas),
        "MetalLB's controller to be ready",
    )
    webhook.wait_for_webhook(cluster)


def is_installed(cluster: Cluster) -> bool:
    """Whether MetalLB's namespace is there."""
    return _namespace(cluster) is not None


def remove(cluster: Cluster) -> None:
    """Take MetalLB away, with its pools, kinds and rights, and wait until it is gone.

    Raises:
        NotProved: something is still there at `object_deleted`.
    """
    if not is_installed(cluster):
        return
    with cluster.progress.step(f"removing MetalLB from {cluster.name}"):
        manifest = prepared(
            cluster.extras.metallb_manifest().read_text(encoding="utf-8"), "MetalLB's manifest"
        )
        # Its own kinds first, while it can still take back the addresses that it gave.
        gone = "--ignore-not-found"
        kinds = ",".join(f"{kind}.{webhook.GROUP}" for kind in _MADE_BY_PEOPLE)
        if _has_kinds(cluster):
            cluster.kubectl("delete", kinds, "--all", f"--namespace={NAMESPACE}", gone)
        cluster.kubectl(
            "delete", "--filename=-", gone, "--wait=false", input=yaml.safe_dump_all(manifest)
        )
        _wait_until_gone(cluster)


def _check_whose(cluster: Cluster) -> None:
    namespace = _namespace(cluster)
    if namespace and (namespace.metadata.labels or {}).get(MANAGED_BY) != OURS:
        raise UsageError(
            f"the cluster {cluster.name} has a namespace {NAMESPACE} that servicelab did not make",
            remedy="run this lab on a cluster without MetalLB: it installs its own, and removes it",
        )


def _namespace(cluster: Cluster) -> Any:
    from kubernetes.client import CoreV1Api

    listed = CoreV1Api(cluster.client).list_namespace(field_selector=f"metadata.name={NAMESPACE}")
    return listed.items[0] if listed.items else None


def _has_kinds(cluster: Cluster) -> bool:
    from kubernetes.client import ApisApi

    return webhook.GROUP in {
        group.name for group in ApisApi(cluster.client).get_api_versions().groups
    }


def _wait_until_gone(cluster: Cluster) -> None:
    from kubernetes.client import ApiextensionsV1Api, CoreV1Api

    def ours(objects: Mapping[str, Any]) -> list[str]:
        return [name for name in objects if name == NAMESPACE or name.endswith(f".{webhook.GROUP}")]

    for listing, what in (
        (CoreV1Api(cluster.client).list_namespace, f"the namespace {NAMESPACE}"),
        (
            ApiextensionsV1Api(cluster.client).list_custom_resource_definition,
            "MetalLB's own kinds",
        ),
    ):
        watch_until(
            listing,
            lambda objects: not ours(objects),
            deadline=deadlines.current().object_deleted,
            expecting=f"{what} to be gone",
            tell=lambda objects: f"still there: {', '.join(ours(objects))}",
        )


def _hand_over_certificate(cluster: Cluster) -> None:
    """Have the kubelet show the controller the certificate that the controller has just made.

    It waits for that file, and the kubelet looks for changed Secrets only when it has something
    else to do for the Pod, which may take a minute: until then the liveness probe fails, and after
    40 s the container is started again. A change of the Pod's object is something to do.
    """
    from kubernetes.client import CoreV1Api

    core = CoreV1Api(cluster.client)
    watch_until(
        core.list_namespaced_secret,
        lambda secrets: CERTIFICATE in secrets and bool(secrets[CERTIFICATE].data),
        deadline=deadlines.current().metallb_ready,
        expecting="MetalLB's controller to make its webhook's certificate",
        tell=lambda secrets: ", ".join(sorted(secrets)) or "no Secret",
        namespace=NAMESPACE,
        field_selector=f"metadata.name={CERTIFICATE}",
    )
    note = {"metadata": {"annotations": {"servicelab/certificate": "made"}}}
    pods: list[Any] = core.list_namespaced_pod(
        NAMESPACE, label_selector=f"component={CONTROLLER}"
    ).items
    for pod in pods:
        core.patch_namespaced_pod(pod.metadata.name, NAMESPACE, note)


def _all_ready(
    listing: Callable[..., Any],
    name: str,
    counts: Callable[[Any], tuple[int, int]],
    expecting: str,
) -> None:
    def ready(objects: Mapping[str, Any]) -> bool | Missing:
        if name not in objects:
            return Missing(f"there is no {name}")
        have, want = counts(objects[name])
        return have == want or Missing(f"{have} of {want} ready")

    watch_until(
        listing,
        ready,
        deadline=deadlines.current().metallb_ready,
        expecting=expecting,
        tell=lambda objects: "",
        namespace=NAMESPACE,
        field_selector=f"metadata.name={name}",
    )
