"""The world beside a cluster, shared by all who use that cluster at the same time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from servicelab.cluster.lease import cluster_folder
from servicelab.errors import InfrastructureError
from servicelab.host import ProcessIdentity, process_identity
from servicelab.vantage import DnsReply, DnsRequest, HttpReply, HttpRequest, Reply, Request
from servicelab.verdict import Missing, NotProved, deadlines, eventually
from servicelab.world.cluster_dns import ClusterDns
from servicelab.world.containers import (
    WORLD_LABEL,
    Containers,
    find_containers,
    remove_containers,
    start_containers,
)
from servicelab.world.sites import Sites, read_sites

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

ANSWER_SECONDS = 0.5  # one question's time; an answer takes a millisecond, and it is asked again


class World:
    """A name server and web servers beside a cluster, which the cluster's DNS leads to.

    Args:
        sites: what there is in it.
        containers: where it runs.
    """

    def __init__(self, sites: Sites, containers: Containers) -> None:
        self.sites = sites
        self.name_server = containers.name_server
        self.servers: Mapping[str, str] = containers.servers

    def addresses(self, name: str) -> set[str]:
        """The addresses that a name has, by the world's own account."""
        return {self.servers[server] for server in self.sites.servers_of(name)}


@contextmanager
def world_beside(cluster: Cluster, sites: Sites | None = None) -> Iterator[World]:
    """Have the world stand beside a cluster.

    The first to enter sets it up, the last to leave takes it away and puts the cluster's DNS back.
    What a killed process left is used by the next one, which then takes it away.

    Args:
        cluster: a cluster that is ready.
        sites: what there is in it; what comes with servicelab by default.

    Raises:
        NotAsked: servicelab did not make the cluster, so nothing can stand beside it.
        InfrastructureError: it does not answer within `world_stands`.
    """
    setting = _Setting(cluster, sites or read_sites())
    world = setting.enter()
    try:
        yield world
    finally:
        setting.leave()


class _Setting:
    """Setting up and taking away, with a file that says who is there."""

    def __init__(self, cluster: Cluster, sites: Sites) -> None:
        self.cluster = cluster
        # First of all: a cluster that servicelab did not make has none, and says so here.
        self.engine = cluster.engine
        self.sites = sites
        self.dns = ClusterDns(cluster)
        self._folder = cluster_folder(cluster.name)
        self._me = process_identity()

    @property
    def _file(self) -> Path:
        return self._folder / "world.json"

    def enter(self) -> World:
        with FileLock(self._folder / "world.lock"):
            users = self._users()
            self._write([*users, self._me])
            try:
                return World(self.sites, self._standing() or self._set_up())
            except BaseException:
                self._write(users)
                if not users:
                    self._take_away()
                raise

    def leave(self) -> None:
        # The cluster's folder goes with the cluster; then nothing is left to be taken away.
        if not self._folder.exists():
            return
        with FileLock(self._folder / "world.lock"):
            users = self._users()
            if self._me in users:
                users.remove(self._me)
            self._write(users)
            # The containers beside a cluster go with it.
            if not users and not self.cluster.going:
                self._take_away()

    def _users(self) -> list[ProcessIdentity]:
        """The processes that use the world and are alive."""
        try:
            listed: list[dict[str, Any]] = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return []
        users = [ProcessIdentity(**each) for each in listed]
        return [each for each in users if each.is_alive()]

    def _write(self, users: list[ProcessIdentity]) -> None:
        self._file.write_text(json.dumps([each.to_dict() for each in users]))

    def _standing(self) -> Containers | None:
        """The world that stands already, and answers."""
        found = find_containers(self.engine, self.cluster.name, self.sites)
        if found is None or self.dns.forwards_to() != found.name_server:
            return None
        self._prove(found)
        return found

    def _set_up(self) -> Containers:
        cluster = self.cluster
        with cluster.progress.step(f"setting up the world beside {cluster.name}"):
            containers = start_containers(
                self.engine,
                cluster.name,
                self.sites,
                web_image=cluster.bundle.probe_image,
                name_server_image=cluster.extras.name_server_image(),
            )
            self.dns.forward(self.sites.zones, containers.name_server)
            self._prove(containers)
        return containers

    def _take_away(self) -> None:
        with self.cluster.progress.step(f"taking away the world beside {self.cluster.name}"):
            try:
                self.dns.put_back()
            finally:
                remove_containers(self.engine, self.cluster.name)

    def _prove(self, containers: Containers) -> None:
        """Wait until every site answers, and every CoreDNS names its servers.

        Raises:
            InfrastructureError: something does not answer within `world_stands`.
        """
        world = World(self.sites, containers)
        place = self.cluster.node_vantages[0]
        wanted: dict[Request, Callable[[Any], bool]] = {}
        for pod in self.dns.pods():
            for name in (*self.sites.aliases, *self.sites.hosts):
                question = DnsRequest(name, server=pod.status.pod_ip, timeout=ANSWER_SECONDS)
                wanted[question] = partial(_names, world.addresses(name))
        for server, sites in self.sites.servers.items():
            for site in sites:
                address = containers.servers[server]
                page = HttpRequest(address, 80, "/hostname", host=site, timeout=ANSWER_SECONDS)
                wanted[page] = partial(_comes_from, server)

        def satisfied(replies: Sequence[Reply]) -> bool | Missing:
            missing = [
                f"{reply.request.target}: {reply.outcome}"
                for reply in replies
                if not wanted[reply.request](reply)
            ]
            return not missing or Missing("; ".join(missing))

        try:
            eventually(
                lambda: place.ask(list(wanted), workers=8),
                satisfied,
                deadline=deadlines.current().world_stands,
                expecting=f"every name and site of the world beside {self.cluster.name} to answer",
                asked_from=place.name,
                tell=lambda replies: "",
                every=0.05,
            )
        except NotProved as error:
            raise InfrastructureError(
                f"the world beside {self.cluster.name} does not stand: {error}",
                remedy=f"see: docker ps --all --filter label={WORLD_LABEL}",
            ) from error


def _names(addresses: set[str], reply: DnsReply) -> bool:
    return set(reply.addresses) == addresses


def _comes_from(server: str, reply: HttpReply) -> bool:
    return reply.pod == server
