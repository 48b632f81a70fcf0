"""The cluster: pytest-kind's `KindCluster`, with a lease, an engine, a bundle and a proxy mode."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import yaml
from pytest_kind import KindCluster

from servicelab.bundle import Bundle, Extras, checked_source, ensure_bundle
from servicelab.cluster import lease as leases
from servicelab.cluster.config import ProxyMode, read_config, render_config, write_patches
from servicelab.cluster.containers import node_states, remove_containers
from servicelab.cluster.creation import run_kind
from servicelab.cluster.forwarding import forwarded
from servicelab.cluster.lease import Lease, cluster_folder, read_lease
from servicelab.cluster.network import ensure_network
from servicelab.cluster.node import Node, nodes_of
from servicelab.cluster.node_shell import NodeShells
from servicelab.content import default_kind_config
from servicelab.engine import Engine, ensure_engine
from servicelab.errors import InfrastructureError, UsageError
from servicelab.host import ProcessIdentity, process_identity
from servicelab.progress import Progress

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from kubernetes.dynamic import DynamicClient

    from servicelab.cluster.proxy_mode import Switched
    from servicelab.vantage import NodeVantage, OutsideVantage


class Cluster(KindCluster):  # type: ignore[misc]  # pytest-kind carries no types
    """A kind cluster that servicelab made.

    Code written for pytest-kind runs on it unchanged; nothing is downloaded, and nothing is
    written outside the cache folder unless `kubeconfig` says so.

    Args:
        name: the kind cluster's name.
        kubeconfig: where its kubeconfig is written; by default a private file.
        image: node image; by default the bundle's.
        kind_path: kind binary; by default the bundle's.
        kubectl_path: kubectl binary; by default the bundle's.
        mode: kube-proxy's mode for a new cluster.
        images: where images come from: "auto", "official" or "bundle".
        owner: the process that the lease names; by default this one.
        keep: the cluster outlives its owner.
        made_by: "run" or "up".

    Attributes:
        ours: servicelab made it, and may switch, disrupt and delete it.
        registry: where its nodes pull images from; None for where their names say.
        going: it is about to be deleted: what stands in it and beside it goes with it.
    """

    ours = True
    going = False

    def __init__(
        self,
        name: str,
        kubeconfig: Path | None = None,
        image: str | None = None,
        kind_path: Path | None = None,
        kubectl_path: Path | None = None,
        *,
        mode: ProxyMode = "iptables",
        images: str = "auto",
        owner: ProcessIdentity | None = None,
        keep: bool = False,
        made_by: str = "run",
        progress: Progress | None = None,
    ) -> None:
        # Not super().__init__(): it would make .pytest-kind in the current folder.
        self.name = name
        self.path = cluster_folder(name)
        self.kubeconfig_path = kubeconfig or self.path / "kubeconfig"
        self.mode: ProxyMode = mode
        self.keep = keep
        self.made_by = made_by
        self.progress = progress or Progress(quiet=True)
        self.registry: str | None = None
        self._owner = owner or process_identity()
        self._images = checked_source(images)
        self._image = image
        self._kind_path = kind_path
        self._kubectl_path = kubectl_path
        self._vantages: list[NodeVantage] = []
        self._sweeper: ThreadPoolExecutor | None = None
        self._sweeping: list[Future[None]] = []
        self._run_id = ""

    # What it stands on, found when first needed.

    @cached_property
    def engine(self) -> Engine:
        """The Docker Engine that runs the nodes; started if none answers."""
        return ensure_engine(self.progress)

    @cached_property
    def bundle(self) -> Bundle:
        """Images and binaries; built or pulled if they are not there."""
        return ensure_bundle(self.engine, source=self._images, progress=self.progress)

    @cached_property
    def _shells(self) -> NodeShells:
        return NodeShells(self.engine)

    @property
    def extras(self) -> Extras:
        """Images and programs that only some labs use; built or pulled when asked for."""
        return Extras(self.engine, self.bundle, self.progress)

    @property
    def image(self) -> str:
        """The node image."""
        return self._image or self.bundle.node_image

    @property
    def kind_path(self) -> Path:
        """The kind binary."""
        return self._kind_path or self.bundle.kind

    @property
    def kubectl_path(self) -> Path:
        """The kubectl binary."""
        return self._kubectl_path or self.bundle.kubectl

    def ensure_kind(self) -> None:
        """Check that kind is there; it is never downloaded here."""
        _check_binary(self.kind_path, "kind", "--kind-bin")

    def ensure_kubectl(self) -> None:
        """Check that kubectl is there; it is never downloaded here."""
        _check_binary(self.kubectl_path, "kubectl", "--kind-kubectl-bin")

    # Life.

    @property
    def lease(self) -> Lease | None:
        """Who owns the cluster, as written on disk."""
        return read_lease(self.name)

    @property
    def replaced(self) -> bool:
        """It was deleted, or made anew by somebody else, since `create`."""
        lease = self.lease
        return bool(self._run_id) and (lease is None or lease.run_id != self._run_id)

    def create(self, config_file: str | Path | None = None) -> None:
        """Use the cluster of that name if it is there and sound, else make it; then prove it ready.

        Args:
            config_file: a kind configuration; by default one control plane and two workers.

        Raises:
            UsageError: the name belongs to a cluster of somebody else, or the file can't be used.
            InfrastructureError: the cluster could not be made or did not become ready.
        """
        config = read_config(Path(config_file) if config_file else default_kind_config())
        if not self._adopt():
            self._make(config)

    def _adopt(self) -> bool:
        """Take over the cluster that stands under this name; False if a new one is needed."""
        lease = self.lease
        containers = node_states(self.engine, self.name)
        if lease is None:
            if containers:
                raise UsageError(
                    f"a kind cluster named {self.name!r} exists that servicelab did not make",
                    remedy="choose another name with --cluster-name",
                )
            return False
        if lease.in_use and lease.owner != self._owner:
            assert lease.owner is not None
            raise UsageError(
                f"the cluster {self.name!r} is in use by process {lease.owner.pid}",
                remedy="wait for it, or choose another name with --cluster-name",
            )
        whole = containers and all(state == "running" for state in containers.values())
        if not whole or not lease.mode or lease.node_image != self.image:
            why = "its node image changed" if whole and lease.mode else "it is not whole"
            self.progress.say(f"the cluster {self.name} is made anew: {why}")
            self.delete()
            return False
        self.keep = self.keep or lease.made_by == "up"
        self.made_by = lease.made_by
        self.mode = as_mode(lease.mode)
        self._run_id = lease.run_id
        lease.with_(owner=self._owner, keep=self.keep)
        if not self.kubeconfig_path.exists():
            self._export_kubeconfig()
        try:
            with self.progress.step(f"proving the kept cluster {self.name} ready ({self.mode})"):
                self._undo_disruption()
                self._prove()
        except (InfrastructureError, AssertionError) as error:
            self.progress.say(f"the cluster {self.name} is made anew: {error}")
            self.delete()
            return False
        return True

    def _make(self, config: dict[str, Any]) -> None:
        lease = Lease(
            cluster=self.name,
            owner=self._owner,
            run_id=uuid.uuid4().hex[:8],
            keep=self.keep,
            made_by=self.made_by,
            node_image=self.image,
            created=time.time(),
            docker_host=self.engine.host,
        )
        self.ensure_kind()
        self.ensure_kubectl()
        ensure_network(self.engine)
        lease.write()
        self._run_id = lease.run_id
        try:
            with self.progress.step(f"creating the cluster {self.name} ({self.mode})"):
                self._run_kind_create(config, lease)
                self._prove()
        except BaseException:
            self._save_logs()
            self.delete()
            raise
        lease.with_(mode=self.mode, kubernetes=self.kubernetes_version)

    def _run_kind_create(self, config: dict[str, Any], lease: Lease) -> None:
        from servicelab.cluster.readiness import import_what_proves, start_probes

        patches = write_patches(self.path / "patches")
        file = self.path / "kind-config.yaml"
        file.write_text(yaml.safe_dump(render_config(config, self.mode, patches)))
        self.kubeconfig_path.parent.mkdir(parents=True, exist_ok=True)

        began = time.monotonic()
        Thread(target=import_what_proves, daemon=True).start()

        def on_step(step: str) -> None:
            self.progress.say(f"       {step}: done after {time.monotonic() - began:.1f} s")
            # The probes start while the workers still join: they need no Pod network.
            if step == "Starting control-plane" and self.bundle.archive is None:
                start_probes(self)

        run_kind(
            [
                str(self.kind_path), "create", "cluster", f"--name={self.name}", "--retain",
                f"--image={self.image}", f"--config={file}",
                f"--kubeconfig={self.kubeconfig_path}",
            ],
            env=self._kind_env(),
            log=self.path / "kind.log",
            on_step=on_step,
            on_start=lambda kind: lease.with_(kind=kind),
        )  # fmt: skip
        if self.bundle.archive is not None:
            self.load_archive(self.bundle.archive)
            start_probes(self)

    def _undo_disruption(self) -> None:
        """Put back what a run that was killed amid a disruptive test left changed."""
        from servicelab.cluster.api_server import restore_flags

        if took := restore_flags(self):
            self.progress.say(f"       the API server's flags are put back: {took}")

    def _prove(self) -> None:
        from servicelab.cluster.readiness import prove_ready

        prove_ready(self)

    def _save_logs(self) -> None:
        """Keep kind's log of a failed creation: the cluster's folder is about to go."""
        log = self.path / "kind.log"
        if log.exists():
            kept = leases.clusters_root().parent / "logs" / f"kind-{self.name}.log"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, kept)

    def delete(self) -> None:
        """Delete the cluster, what stands beside it, and its lease.

        Raises:
            UsageError: servicelab did not make a cluster of that name.
        """
        if self.lease is None and node_states(self.engine, self.name):
            raise UsageError(
                f"the kind cluster {self.name!r} was not made by servicelab",
                remedy="delete it with kind",
            )
        remove_containers(self.engine, self.name)
        leases.forget(self.name)
        self.close()
        for cached in ("client", "dynamic", "api", "nodes", "kubernetes_version"):
            self.__dict__.pop(cached, None)

    def release(self) -> None:
        """Stop using the cluster: keep it if that was asked, else delete it."""
        lease = self.lease
        if lease is None:
            return
        if lease.keep:
            self.close()
            lease.with_(owner=None)
        else:
            self.delete()

    def sweep(self, work: Callable[[], None]) -> None:
        """Clean something up while the next test goes on; `finish_sweeping` waits for it.

        Args:
            work: a few calls of the API; one at a time is done, in order.
        """
        if self._sweeper is None:
            self._sweeper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sweep")
        self._sweeping.append(self._sweeper.submit(work))

    def finish_sweeping(self) -> None:
        """Wait for what is being cleaned up.

        Raises:
            kubernetes.client.ApiException: something could not be cleaned up.
        """
        swept, self._sweeping = self._sweeping, []
        for work in swept:
            error = work.exception()
            # What stood in a cluster that is gone is clean.
            if error and not self.replaced:
                raise error

    def close(self) -> None:
        """Wait for what is being cleaned up, and close the channels to the vantage points.

        Raises:
            kubernetes.client.ApiException: something could not be cleaned up.
        """
        for vantage in self._vantages:
            vantage.close()
        self._vantages = []
        # Not by its name, which would look for an engine where no node was ever asked.
        if shells := self.__dict__.pop("_shells", None):
            shells.close()
        if self._sweeper is not None:
            self._sweeper.shutdown()
            self._sweeper = None
        self.finish_sweeping()

    # Asking it.

    @cached_property
    def client(self) -> ApiClient:
        """The official Kubernetes client, from the cluster's own kubeconfig only."""
        from kubernetes import config

        client: ApiClient = config.new_client_from_config(  # type: ignore[no-untyped-call]
            str(self.kubeconfig_path)
        )
        return client

    @cached_property
    def dynamic(self) -> DynamicClient:
        """The official dynamic client: any kind of object, by its apiVersion and kind."""
        from kubernetes.dynamic import DynamicClient

        return DynamicClient(self.client)  # type: ignore[no-untyped-call]

    @cached_property
    def api(self) -> Any:
        """pykube's HTTPClient, as pytest-kind has it."""
        import pykube

        return pykube.HTTPClient(pykube.KubeConfig.from_file(self.kubeconfig_path))

    @cached_property
    def kubernetes_version(self) -> str:
        """The API server's version, for example v1.37.0."""
        from kubernetes.client import VersionApi

        return str(VersionApi(self.client).get_code().git_version)

    @cached_property
    def nodes(self) -> list[Node]:
        """The cluster's nodes, control plane first."""
        return nodes_of(self.engine, self.name)

    @property
    def node_vantages(self) -> list[NodeVantage]:
        """One vantage point a node, in its own network; the same order as `nodes`."""
        from servicelab.vantage.nodes import node_vantages

        if not self._vantages:
            by_name = node_vantages(self.client.configuration)
            self._vantages = [by_name[node.name] for node in self.nodes]
        return self._vantages

    def outside(self) -> OutsideVantage:
        """A new vantage point beside the cluster, without a route to Pods or Services."""
        from servicelab.vantage.outside import start_outside

        return start_outside(self.engine, self.name, self.bundle.probe_image)

    def docker_exec(self, node: str, *argv: str, input: str | None = None) -> str:
        """Run a command in a node's container and return what it printed.

        Raises:
            InfrastructureError: it ended with an error.
        """
        if input is None:
            return self._shells.run(node, *argv)
        return self.engine.docker("exec", "-i", node, *argv, input=input)

    def switch_mode(
        self, mode: ProxyMode, *, scheduler: str | None = None, strict_arp: bool | None = None
    ) -> Switched | None:
        """Switch kube-proxy's mode in place, proved on every node.

        Args:
            mode: the mode to enter; with the one in force and no settings nothing is done.
            scheduler: ipvs' scheduler; None leaves what is configured.
            strict_arp: ipvs' strictARP; None leaves what is configured.

        Returns:
            What came of it; None if there was nothing to do.

        Raises:
            ModeRefused: kube-proxy can't run in it here; the mode before is in force again.
            InfrastructureError: kube-proxy did not come up in the mode on some node.
        """
        from servicelab.cluster.proxy_mode import ModeRefused, prove_mode, switch

        with leases.cluster_lock(self.name):
            lease = self.lease
            if lease and lease.mode:
                # Another process that shares the cluster may have switched it meanwhile.
                self.mode = as_mode(lease.mode)
            if mode == self.mode and scheduler is None and strict_arp is None:
                return None
            if lease:
                lease.with_(mode="")  # until it is proved, nobody knows
            try:
                with self.progress.step(f"switching {self.name} from {self.mode} to {mode}"):
                    switched = switch(self, mode, scheduler=scheduler, strict_arp=strict_arp)
            except ModeRefused:
                with self.progress.step(f"putting {self.name} back into {self.mode}"):
                    prove_mode(self, self.mode)
                if lease:
                    lease.with_(mode=self.mode)
                raise
            self.mode = mode
            if lease:
                lease.with_(mode=mode)
            return switched

    def check_may_disrupt(self) -> None:
        """See that something may be taken away from the whole cluster for a while: it is ours."""

    def localised(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Objects with their images named as this cluster's nodes pull them.

        Raises:
            UsageError: an image of theirs can't have a name in the registry.
        """
        if not self.registry:
            return documents
        from servicelab.manifests import rewrite

        text = yaml.safe_dump_all(documents)
        rewritten = rewrite(text, self.registry, where="the objects")
        return list(yaml.safe_load_all(rewritten.text))

    def kubectl(self, *args: str, **kwargs: Any) -> str:
        """Run kubectl against the cluster and return what it printed.

        Raises:
            subprocess.CalledProcessError: kubectl ended with an error (as pytest-kind's does).
        """
        self.ensure_kubectl()
        return str(
            subprocess.check_output(
                [str(self.kubectl_path), *args], env=self._kubectl_env(), encoding="utf-8", **kwargs
            )
        )

    def load_docker_image(self, docker_image: str) -> None:
        """Load an image that the engine holds into every node, as one archive.

        Raises:
            InfrastructureError: the engine has no such image.
        """
        with tempfile.TemporaryDirectory(prefix="servicelab-image-") as folder:
            archive = Path(folder, "image.tar")
            self.engine.docker("save", "-o", str(archive), docker_image)
            self.load_archive(archive)

    def load_archive(self, archive: Path) -> None:
        """Load a docker-archive into every node.

        Raises:
            InfrastructureError: a node refuses it.
        """
        run_kind(
            [str(self.kind_path), "load", "image-archive", str(archive), f"--name={self.name}"],
            env=self._kind_env(),
            log=self.path / "load.log",
        )

    @contextmanager
    def port_forward(
        self,
        service_or_pod_name: str,
        remote_port: int,
        *args: str,
        local_port: int | None = None,
        retries: int = 10,
    ) -> Generator[int, None, None]:
        """Run `kubectl port-forward` and give the local port.

        It bypasses kube-proxy, so it proves nothing about a Service. `retries` is accepted for
        pytest-kind's sake; kubectl picks a free port itself, so there is nothing to try again.

        Raises:
            InfrastructureError: kubectl ended before it listened.
        """
        self.ensure_kubectl()
        argv = [str(self.kubectl_path), "port-forward", service_or_pod_name, *args]
        with forwarded(argv, self._kubectl_env(), remote_port, local_port) as port:
            yield port

    # Small pieces.

    def _export_kubeconfig(self) -> None:
        run_kind(
            [
                str(self.kind_path), "export", "kubeconfig", f"--name={self.name}",
                f"--kubeconfig={self.kubeconfig_path}",
            ],
            env=self._kind_env(),
            log=self.path / "kubeconfig.log",
        )  # fmt: skip

    def _kind_env(self) -> dict[str, str]:
        return {**self.engine.env, "KUBECONFIG": str(self.kubeconfig_path)}

    def _kubectl_env(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig_path)}


def _check_binary(path: Path, what: str, option: str) -> None:
    if not os.access(path, os.X_OK):
        raise UsageError(
            f"there is no {what} that can be run at {path}",
            remedy=f"name one with {option}, or leave it out",
        )


def as_mode(mode: str) -> ProxyMode:
    """The mode of that name.

    Raises:
        UsageError: there is none.
    """
    from servicelab.cluster.config import PROXY_MODES

    for known in PROXY_MODES:
        if mode == known:
            return known
    raise UsageError(f"unknown proxy mode {mode!r}", remedy=f"use one of {', '.join(PROXY_MODES)}")
