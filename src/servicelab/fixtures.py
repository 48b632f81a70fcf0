"""The session's fixtures: the cluster, its proxy mode, and the places to ask from.

The module is registered as a plugin in pytest_configure, after every plugin that pytest loads by
name or entry point: so `kind_cluster` is this one, whatever the load order of pytest-kind's.
"""

from __future__ import annotations

import os
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
    # A worker of xdist leaves the cluster to the others.
    if cluster is not None and "PYTEST_XDIST_WORKER" not in os.environ:
        cluster.going = cluster.ours and not cluster.keep


def session_owner() -> ProcessIdentity:
    """The process that a cluster's lease names: under xdist the controller, not a worker."""
    under_xdist = "PYTEST_XDIST_WORKER" in os.environ
    return process_identity(os.getppid() if under_xdist else None)


def cluster_of_session(config: pytest.Config) -> Cluster:
    """The cluster that the session's options describe; nothing is started."""
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
    return Cluster(
        config.getoption("cluster_name", "servicelab"),
        path("kubeconfig"),
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
    """Delete or keep the session's cluster, and stop an engine that nobody needs any more.

    Runs once, in the process that the lease names; without a cluster of its own it does nothing.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    if config.getoption("context", None):
        cluster_of_session(config).release()
        return
    from servicelab.cluster import read_lease

    lease = read_lease(config.getoption("cluster_name", "servicelab"))
    if lease is None or lease.owner != process_identity():
        return
    from servicelab.engine import stop_if_unused

    cluster = cluster_of_session(config)
    cluster.release()
    stop_if_unused(cluster.engine)
