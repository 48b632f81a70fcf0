"""The world's containers beside a cluster: web servers and their name server."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from servicelab.vantage.outside import CLUSTER_LABEL
from servicelab.world.sites import Sites

if TYPE_CHECKING:
    from servicelab.engine import Engine

WORLD_LABEL = "servicelab.world"
NETWORK = "kind"
NAME_SERVER = "ns"
ZONES_FOLDER = "etc/world"


@dataclass(frozen=True, slots=True)
class Containers:
    """The world's containers as they run.

    Attributes:
        name_server: the name server's IPv4 address.
        servers: each web server's IPv4 address, by its name.
    """

    name_server: str
    servers: Mapping[str, str]


def start_containers(
    engine: Engine, cluster: str, sites: Sites, *, web_image: str, name_server_image: str
) -> Containers:
    """Start the web servers and, once their addresses are known, the name server.

    Args:
        engine: the one that runs the cluster.
        cluster: the cluster's name; each container carries it in the label `servicelab.cluster`,
            so they go when the cluster goes.
        sites: what they serve.
        web_image: an image with Python, such as the probe's.
        name_server_image: an image whose entrypoint is CoreDNS.

    Raises:
        InfrastructureError: one did not start; nothing is left of any of them.
    """
    remove_containers(engine, cluster)
    script = resources.files("servicelab.world").joinpath("virtual_hosts.py").read_text("utf-8")

    def web_server(name: str) -> None:
        engine.docker(
            "run", "--detach", *_options(cluster, name), "--entrypoint=python3", web_image,
            "-I", "-c", script, name, *sites.servers[name],
        )  # fmt: skip

    def name_server() -> None:
        engine.docker(
            "create", *_options(cluster, NAME_SERVER), name_server_image,
            "-conf", f"/{ZONES_FOLDER}/Corefile",
        )  # fmt: skip

    try:
        with ThreadPoolExecutor(max_workers=len(sites.servers) + 1) as starting:
            begun = [starting.submit(web_server, name) for name in sites.servers]
            begun.append(starting.submit(name_server))
        for each in begun:
            each.result()
        found = _addresses(engine, cluster)
        servers = {name: found[name] for name in sites.servers}
        into = f"{_container(cluster, NAME_SERVER)}:/"
        engine.docker("cp", "-", into, input=_configuration(sites, servers))
        engine.docker("start", _container(cluster, NAME_SERVER))
        return Containers(_addresses(engine, cluster)[NAME_SERVER], servers)
    except BaseException:
        remove_containers(engine, cluster)
        raise


def find_containers(engine: Engine, cluster: str, sites: Sites) -> Containers | None:
    """The world's containers beside a cluster if all of them run; else None."""
    found = _addresses(engine, cluster)
    if set(found) != {*sites.servers, NAME_SERVER} or not all(found.values()):
        return None
    name_server = found.pop(NAME_SERVER)
    return Containers(name_server, found)


def remove_containers(engine: Engine, cluster: str) -> None:
    """Remove the world's containers beside a cluster; nothing if there are none."""
    if names := _list(engine, cluster):
        engine.docker("rm", "--force", "--volumes", *names)


def _options(cluster: str, name: str) -> list[str]:
    return [
        "--pull=never",
        f"--name={_container(cluster, name)}",
        f"--hostname={name}",
        f"--network={NETWORK}",
        f"--label={CLUSTER_LABEL}={cluster}",
        f"--label={WORLD_LABEL}={name}",
        "--label=app.kubernetes.io/managed-by=servicelab",
        "--cap-drop=ALL",
        "--cap-add=NET_BIND_SERVICE",
        "--security-opt=no-new-privileges",
    ]


def _container(cluster: str, name: str) -> str:
    return f"{cluster}-world-{name}"


def _list(engine: Engine, cluster: str) -> list[str]:
    filters = (f"label={CLUSTER_LABEL}={cluster}", f"label={WORLD_LABEL}")
    options = [option for each in filters for option in ("--filter", each)]
    return engine.docker("ps", "--all", *options, "--format", "{{.Names}}").split()


def _addresses(engine: Engine, cluster: str) -> dict[str, str]:
    """The IPv4 address of each of the world's containers; "" for one that does not run."""
    names = _list(engine, cluster)
    found = {}
    for container in json.loads(engine.docker("inspect", *names)) if names else ():
        here = container["NetworkSettings"]["Networks"].get(NETWORK, {})
        found[container["Config"]["Labels"][WORLD_LABEL]] = str(here.get("IPAddress") or "")
    return found


def _configuration(sites: Sites, servers: Mapping[str, str]) -> bytes:
    """A tar of the name server's files: its Corefile, and the zones."""
    corefile = "".join(
        f"{zone}:53 {{\n    file /{ZONES_FOLDER}/{zone}\n    errors\n}}\n" for zone in sites.zones
    )
    files = {"Corefile": corefile}
    files |= {zone: sites.zone_file(zone, servers) for zone in sites.zones}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(f"{ZONES_FOLDER}/{name}")
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return archive.getvalue()
