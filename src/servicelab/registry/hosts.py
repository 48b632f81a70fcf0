"""Where a node's containerd finds a registry: a file that it reads at each pull.

https://github.com/containerd/containerd/blob/main/docs/hosts.md
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

#: containerd looks here without being told to since 2.2; kind's nodes are told to before that.
FOLDER = "/etc/containerd/certs.d"
_NAMESPACE = ("ctr", "--namespace", "k8s.io")


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


def configured(cluster: Cluster, node: str, name: str) -> bool:
    """Whether a node has a file for a registry."""
    found = cluster.docker_exec(node, "find", FOLDER, "-path", f"{FOLDER}/{name}/hosts.toml")
    return bool(found.strip())


def images(cluster: Cluster, node: str, name: str) -> dict[str, str]:
    """The images in a node's containerd that came from a registry: digests by full name."""
    listed = cluster.docker_exec(node, *_NAMESPACE, "images", "list")
    found = {}
    for line in listed.splitlines()[1:]:
        image, _, digest, *_ = line.split()
        if image.startswith(f"{name}/"):
            found[image] = digest
    return found


def forget_images(cluster: Cluster, node: str, name: str) -> None:
    """Take a registry's images out of a node's containerd, so that they must be pulled again."""
    listed = cluster.docker_exec(node, *_NAMESPACE, "images", "list").splitlines()[1:]
    digest_of = {line.split()[0]: line.split()[2] for line in listed}
    mine = {image for image in digest_of if image.startswith(f"{name}/")}
    digests = {digest_of[image] for image in mine}
    # The kubelet's runtime keeps a third name, the image's id; it goes unless others share it.
    shared = {digest for image, digest in digest_of.items() if image not in mine and "/" in image}
    ids = {
        image
        for image, digest in digest_of.items()
        if image.startswith("sha256:") and digest in digests - shared
    }
    if mine:
        cluster.docker_exec(node, *_NAMESPACE, "images", "remove", "--sync", *sorted(mine | ids))


def check_folder_is_read(configuration: str, node: str) -> None:
    """Check containerd's own configuration, as `containerd config dump` prints it.

    Raises:
        InfrastructureError: it does not read the folder.
    """
    paths = re.findall(r"config_path\s*=\s*['\"]([^'\"]*)['\"]", configuration)
    if not any(FOLDER in path.split(":") for path in paths):
        raise InfrastructureError(
            f"containerd on {node} does not read {FOLDER}, so it can't be led to a registry",
            remedy="use the bundle's node image, or one of kind v0.27 or newer",
        )
