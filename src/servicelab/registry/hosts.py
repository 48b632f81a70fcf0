"""Where a node's containerd finds a registry: a file that it reads at each pull.

https://github.com/containerd/containerd/blob/main/docs/hosts.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

_CONTAINERD = "/etc/containerd"
#: containerd 2.2 looks here without being told to, older ones if their `config_path` says so.
FOLDER = f"{_CONTAINERD}/certs.d"
_NAMESPACE = ("ctr", "--namespace", "k8s.io")
#: A manifest and its configuration, in what `ctr content list` prints.
_CONFIGURATION = re.compile(
    r"^(sha256:[0-9a-f]+)\s.*containerd\.io/gc\.ref\.content\.config=(sha256:[0-9a-f]+)",
    re.MULTILINE,
)


def hosts_toml(address: str) -> str:
    """The file that leads containerd to a registry that speaks plain HTTP.

    Args:
        address: HOST:PORT, as the nodes reach it.
    """
    url = f"http://{address}"
    return f'server = "{url}"\n\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'


def configure(cluster: Cluster, node: str, name: str, address: str) -> None:
    """Make a node pull what begins with a registry's name from an address; no restart is needed.

    Raises:
        InfrastructureError: the node's containerd does not read such files.
    """
    check_folder_is_read(cluster.docker_exec(node, "containerd", "config", "dump"), node)
    file = f"{FOLDER}/{name}/hosts.toml"
    text = hosts_toml(address)
    cluster.docker_exec(node, "install", "-D", "-m", "644", "/dev/stdin", file, input=text)


def unconfigure(cluster: Cluster, node: str, name: str) -> None:
    """Undo `configure`; twice does no harm."""
    cluster.docker_exec(node, "rm", "-rf", f"{FOLDER}/{name}")
    find = ("find", _CONTAINERD, "-maxdepth", "1")
    cluster.docker_exec(node, *find, "-path", FOLDER, "-empty", "-delete")


def configured(cluster: Cluster, node: str, name: str) -> bool:
    """Whether a node has a file for a registry."""
    found = cluster.docker_exec(node, "find", _CONTAINERD, "-path", f"{FOLDER}/{name}/hosts.toml")
    return bool(found.strip())


def images(cluster: Cluster, node: str, name: str) -> dict[str, str]:
    """The images in a node's containerd that came from a registry: digests by full name."""
    digests = _digests(cluster, node)
    return {image: digests[image] for image in digests if image.startswith(f"{name}/")}


def forget_images(cluster: Cluster, node: str, name: str) -> None:
    """Take a registry's images out of a node's containerd, so that they must be pulled again."""
    digest_of = _digests(cluster, node)
    mine = {image for image in digest_of if image.startswith(f"{name}/")}
    if not mine:
        return
    # The kubelet's runtime gives each image a further name, its id, which is its configuration's
    # digest. An image of another name, packed otherwise, may have the same and must keep it.
    listed = cluster.docker_exec(node, *_NAMESPACE, "content", "list")
    id_of = {match[1]: match[2] for match in _CONFIGURATION.finditer(listed)}
    others = {image for image in digest_of if not image.startswith("sha256:")} - mine
    ids = _ids(mine, digest_of, id_of) - _ids(others, digest_of, id_of)
    gone = sorted(mine | ids & digest_of.keys())
    cluster.docker_exec(node, *_NAMESPACE, "images", "remove", "--sync", *gone)


def _digests(cluster: Cluster, node: str) -> dict[str, str]:
    """The digest of each image in a node's containerd, by its full name or id."""
    listed = cluster.docker_exec(node, *_NAMESPACE, "images", "list")
    return {image: digest for image, _, digest, *_ in map(str.split, listed.splitlines()[1:])}


def _ids(images: Iterable[str], digest_of: Mapping[str, str], id_of: Mapping[str, str]) -> set[str]:
    return {id_of[digest_of[image]] for image in images if digest_of[image] in id_of}


def check_folder_is_read(configuration: str, node: str) -> None:
    """Check containerd's own configuration, as `containerd config dump` prints it.

    Raises:
        InfrastructureError: it does not read the folder.
    """
    paths = re.findall(r"config_path\s*=\s*['\"]([^'\"]*)['\"]", configuration)
    if not any(FOLDER in path.split(":") for path in paths):
        raise InfrastructureError(
            f"containerd on {node} does not read {FOLDER}, so it can't be led to a registry",
            remedy=f'set config_path = "{FOLDER}" by containerdConfigPatches in the kind '
            "configuration, or use --images bundle",
        )
