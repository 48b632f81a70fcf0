"""The session's fixtures: the cluster, its proxy mode, and the places to ask from.

The module is registered as a plugin in pytest_configure, after every plugin that pytest loads by
name or entry point: so `kind_cluster` is this one, whatever the load order of pytest-kind's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servicelab.content import default_kind_config
from servicelab.host import ProcessIdentity, process_identity
from servicelab.lab.plugin import lab, shared_lab

__all__ = [
    "cluster",
    "kind_cluster",
    "kind_config",
    "lab",
    "nodes",
    "outside",
    "proxy_mode",
    "restored_cluster",
    "shared_lab",
    "world",
]

if TYPE_CHECKING:
    from servicelab.cluster import Cluster, ProxyMode
    from servicelab.vantage import NodeVantage, OutsideVantage
    from servicelab.world import World


#: The cluster, once the session has one.
CLUSTER = pytest.StashKey["Cluster"]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After the last test, say so to the cluster, before the session's fixtures are taken down."""
    if nextitem is None:
        _session_leaves(item.config)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Likewise, where the last test was not known to be the last: on Ctrl-C."""
    _session_leaves(session.config)


def _session_leaves(config: pytest.Config) -> None:
    cluster = config.stash.get(CLUSTER, None)
    # A worker of xdist leaves a cluster that they share to the others.
    alone = not _worker() or _one_for_each_worker(config)
    if cluster is not None and alone:
        cluster.going = cluster.ours and not cluster.keep


def _worker() -> str:
    """Which of xdist's workers this process is, such as gw0; "" if it is none."""
    return os.environ.get("PYTEST_XDIST_WORKER", "")


def _one_for_each_worker(config: pytest.Config) -> bool:
    return bool(config.getoption("cluster_per_worker", False))


def session_owner() -> ProcessIdentity:
    """The process that a cluster's lease names: under xdist the controller, not a worker."""
    return process_identity(os.getppid() if _worker() else None)


def _session_cluster_name(config: pytest.Config) -> str:
    name: str = config.getoption("cluster_name", "servicelab")
    return name


def own_cluster_name(config: pytest.Config) -> str:
    """The name of the cluster that this process tests on.

    Under xdist, where each worker has one, the first worker's is the session's: one that was kept
    is used again.
    """
    name = _session_cluster_name(config)
    number = int(_worker().removeprefix("gw") or 0) + 1
    return f"{name}-{number}" if number > 1 and _one_for_each_worker(config) else name


def cluster_of_session(config: pytest.Config, name: str | None = None) -> Cluster:
    """The cluster that the session's options describe; nothing is started.

    Args:
        config: with the options.
        name: of which of its clusters; None for this process's.
    """
    from servicelab.cluster import Cluster
    from servicelab.progress import Progress
    from servicelab.report.uncaptured import Uncaptured

    def path(option: str) -> Path | None:
        value = config.getoption(option, None)
        return Path(value).absolute() if value else None

    if context := config.getoption("context", None):
        from servicelab.cluster.existing import ExistingCluster

        return ExistingCluster(
            context,
            path("kubeconfig"),
            kubectl_path=path("kind_kubectl_bin"),
            registry=config.getoption("registry", None),
            owner=session_owner(),
            progress=Progress(stream=Uncaptured(config)),
        )
    name = name or own_cluster_name(config)
    return Cluster(
        name,
        # The file that was named has room for one.
        path("kubeconfig") if name == _session_cluster_name(config) else None,
        image=config.getoption("kind_image", None),
        mode=first_mode(config),
        kind_path=path("kind_bin"),
        kubectl_path=path("kind_kubectl_bin"),
        images=config.getoption("images", "auto"),
        owner=session_owner(),
        keep=bool(config.getoption("keep_cluster", False)),
        progress=Progress(stream=Uncaptured(config)),
    )


def first_mode(config: pytest.Config) -> ProxyMode:
    """The proxy mode that a new cluster is made in: the first of the session's that can run."""
    from servicelab.pytest_plugin import chosen_modes

    modes: list[ProxyMode] = [mode for mode in chosen_modes(config) if not missing_in_kernel(mode)]
    return modes[0] if modes else "iptables"


def missing_in_kernel(mode: str) -> str:
    """Why kube-proxy can't run in a mode on this kernel; "" if nothing is known to be missing."""
    from servicelab.doctor.kernel import missing_for_ipvs

    missing = missing_for_ipvs() if mode == "ipvs" else ()
    return f"the kernel lacks {', '.join(missing)}" if missing else ""


@pytest.fixture(scope="session")
def kind_config() -> Path:
    """The kind configuration of the session's cluster."""
    return default_kind_config()


@pytest.fixture(scope="session")
def kind_cluster(pytestconfig: pytest.Config, kind_config: Path) -> Iterator[Cluster]:
    """A cluster that is ready; the one that was kept, if there is one of that name."""
    from servicelab.cluster import cluster_lock, reap
    from servicelab.verdict.run_facts import run_facts

    cluster = pytestconfig.stash[CLUSTER] = cluster_of_session(pytestconfig)
    chosen = pytestconfig.getoption("kind_config", None)
    with cluster_lock(cluster.name):
        if cluster.ours:
            reap(cluster.engine)
        cluster.create(Path(chosen) if chosen else kind_config)
    run_facts(pytestconfig).learn(
        kubernetes_version=cluster.kubernetes_version,
        cluster=cluster.name,
        nodes=len(cluster.nodes),
        engine=f"{cluster.engine.kind} Docker Engine" if cluster.ours else "not ours",
        images=f"{cluster.bundle.source}: {cluster.bundle.reason}" if cluster.ours else "its own",
    )
    if turns := pytestconfig.pluginmanager.get_plugin("servicelab-turns"):
        turns.before_leaving.append(cluster.finish_sweeping)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def proxy_mode(request: pytest.FixtureRequest, kind_cluster: Cluster) -> str:
    """The proxy mode under test; each one that the session asks for is entered once."""
    mode: ProxyMode = request.param
    if kind_cluster.ours and (reason := missing_in_kernel(mode)):
        pytest.skip(reason)
    from servicelab.cluster.proxy_mode import ModeRefused

    try:
        kind_cluster.switch_mode(mode)
    except ModeRefused as error:
        pytest.skip(str(error))
    return mode


@pytest.fixture(scope="session")
def cluster(kind_cluster: Cluster, proxy_mode: str) -> Cluster:
    """The cluster, in the proxy mode under test."""
    assert kind_cluster.mode == proxy_mode
    return kind_cluster


@pytest.fixture
def restored_cluster(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[None]:
    """Around a test marked `disruptive`: the cluster is as before in the end, or is replaced."""
    from servicelab.cluster.restoration import restored
    from servicelab.lab.working import prove_working

    cluster.check_may_disrupt()
    with restored(cluster, request.node.name, works=prove_working):
        yield


@pytest.fixture(scope="session")
def nodes(cluster: Cluster) -> list[NodeVantage]:
    """A place to ask from on each node, control plane first."""
    return cluster.node_vantages


@pytest.fixture(scope="session")
def outside(cluster: Cluster) -> Iterator[OutsideVantage]:
    """A place to ask from beside the cluster, without a route to Pods or Services."""
    vantage = cluster.outside()
    yield vantage
    vantage.remove()


@pytest.fixture(scope="session")
def world(cluster: Cluster) -> Iterator[World]:
    """What stands for the public DNS and for public sites; the cluster's DNS leads to it.

    Made for each proxy mode, because a disruptive test at a mode's end may replace the cluster.
    """
    from servicelab.world import world_beside

    with world_beside(cluster) as world:
        yield world


def end_session(config: pytest.Config) -> None:
    """Delete or keep the session's clusters, and stop an engine that nobody needs any more.

    Runs once, in the process that the leases name; without a cluster of its own it does nothing.
    """
    if _worker():
        return
    if config.getoption("context", None):
        cluster_of_session(config).release()
        return
    from servicelab.cluster import all_leases

    name = re.escape(_session_cluster_name(config))
    # One of a worker that took a crashed one's place may have any number.
    ours = re.compile(rf"{name}(-\d+)?" if _one_for_each_worker(config) else name)
    owned = [lease.cluster for lease in all_leases() if lease.owner == process_identity()]
    clusters = [cluster_of_session(config, each) for each in owned if ours.fullmatch(each)]
    if not clusters:
        return
    from servicelab.engine import stop_if_unused

    for cluster in clusters:
        cluster.release()
    stop_if_unused(clusters[0].engine)
