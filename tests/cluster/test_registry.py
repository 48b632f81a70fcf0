"""A private registry on a real cluster: it takes images, nodes pull from it, nothing is left."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servicelab.cluster import Cluster
from servicelab.errors import UsageError
from servicelab.pins import pins
from servicelab.progress import Progress
from servicelab.registry import Crane, PrivateRegistry, ensure_registry, hosts, push_images, targets

pytestmark = pytest.mark.docker

IMAGE = pins().metallb_images[0]

# The program prints its options and ends well; it is there to be pulled.
PULLING = """\
apiVersion: v1
kind: Pod
metadata:
  name: pulling-{node}
spec:
  nodeName: {node}
  restartPolicy: Never
  tolerations: [{{operator: Exists}}]
  containers:
    - name: prints
      image: {image}
      args: [-h]
"""


@pytest.fixture(scope="module")
def registry(kind_cluster: Cluster) -> Iterator[PrivateRegistry]:
    """A registry beside the cluster, which every node is led to."""
    registry = ensure_registry(kind_cluster)
    yield registry
    registry.remove()


@pytest.fixture
def guarded(registry: PrivateRegistry, kind_cluster: Cluster) -> Iterator[str]:
    """The address of a second one, that wants a login and speaks TLS with its own certificate."""
    engine = kind_cluster.engine
    name = f"{kind_cluster.name}-guarded"
    folder = kind_cluster.path / "guarded"
    folder.mkdir()
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=guarded.test", "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    # bcrypt of "secret", as htpasswd writes it.
    (folder / "users").write_text(
        "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n", encoding="utf-8"
    )
    engine.docker(
        "create", f"--name={name}", "--network=kind", "--publish=127.0.0.1::5000",
        f"--label=servicelab.cluster={kind_cluster.name}",
        "--env=REGISTRY_AUTH=htpasswd", "--env=REGISTRY_AUTH_HTPASSWD_REALM=guarded",
        "--env=REGISTRY_AUTH_HTPASSWD_PATH=/etc/distribution/users",
        "--env=REGISTRY_HTTP_TLS_CERTIFICATE=/etc/distribution/cert.pem",
        "--env=REGISTRY_HTTP_TLS_KEY=/etc/distribution/key.pem",
        kind_cluster.extras.registry_image(),
    )  # fmt: skip
    try:
        for file in folder.iterdir():
            engine.docker("cp", str(file), f"{name}:/etc/distribution/{file.name}")
        engine.docker("start", name)
        yield engine.docker("port", name, "5000/tcp").split()[0]
    finally:
        engine.docker("rm", "--force", "--volumes", name)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def test_an_image_is_pulled_from_it_by_every_node(
    registry: PrivateRegistry, kind_cluster: Cluster
) -> None:
    """A Pod on each node runs the image by its name there; the access log names each node."""
    reference = registry.push(IMAGE)
    names = [node.name for node in kind_cluster.nodes]
    manifest = "---\n".join(PULLING.format(node=name, image=reference) for name in names)

    made = kind_cluster.kubectl("apply", "-f", "-", "-o", "name", input=manifest).split()
    try:
        succeeded = "--for=jsonpath={.status.phase}=Succeeded"
        kind_cluster.kubectl("wait", succeeded, "--timeout=60s", *made)
    finally:
        kind_cluster.kubectl("delete", "--force", "--wait=false", *made)

    asked = {each.client for each in registry.requests() if each.agent.startswith("containerd/")}
    assert asked == {node.ip for node in kind_cluster.nodes}
    digest = registry.digest(reference)
    for node in kind_cluster.nodes:
        assert registry.pulled(node.name)[reference] == digest


def test_another_process_finds_the_same_registry(
    registry: PrivateRegistry, kind_cluster: Cluster
) -> None:
    """What was pushed stays."""
    found = ensure_registry(kind_cluster)

    assert (found.container, found.published) == (registry.container, registry.published)
    assert found.digest(registry.push(IMAGE))


def test_the_command_pushes_and_then_finds_it_there(
    registry: PrivateRegistry, kind_cluster: Cluster
) -> None:
    """`servicelab images push`: the reference with its digest on stdout, a step on stderr."""
    argv = ["images", "push", f"{registry.published}/team", IMAGE, "--images=bundle"]

    first, second = (
        subprocess.run(
            [sys.executable, "-m", "servicelab", *argv], capture_output=True, text=True, check=False
        )
        for _ in range(2)
    )

    pushed = f"{registry.published}/team/metallb/controller:{pins().metallb}"
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(f"{pushed}@sha256:")
    assert f"[ 1/1] push {pushed}  done in" in first.stderr
    assert second.stdout == first.stdout
    assert "there already" in second.stderr


def test_another_image_of_that_name_is_left_alone(
    registry: PrivateRegistry, kind_cluster: Cluster
) -> None:
    """The registry keeps what it has, unless one asks to replace it."""
    crane = Crane(kind_cluster.extras.crane(), registry.published)
    archive, quiet = kind_cluster.extras.archive, Progress(quiet=True)
    place = f"{registry.published}/taken"
    names = targets([IMAGE], place, offered=[IMAGE])
    other = pins().metallb_images[1]
    push_images(lambda _: archive(other), names, crane, progress=quiet)

    with pytest.raises(UsageError, match="is taken: the registry has another image of that name"):
        push_images(archive, names, crane, progress=quiet)
    (pushed,) = push_images(archive, names, crane, progress=quiet, replace=True)

    assert pushed.digest == crane.digest(names[IMAGE])


@pytest.mark.parametrize(
    ("insecure", "login", "sentence"),
    [
        (False, "me:secret", "has a certificate that this machine does not trust"),
        (True, "", "wants a login, or does not accept the one that Docker has"),
        (True, "me:wrong", "wants a login, or does not accept the one that Docker has"),
        (True, "me:secret", ""),
    ],
)
def test_certificate_and_login(
    guarded: str, kind_cluster: Cluster, tmp_path: Path, insecure: bool, login: str, sentence: str
) -> None:
    """Both must do; the login is the one in Docker's own credentials file."""
    entry = {guarded: {"auth": base64.b64encode(login.encode()).decode()}} if login else {}
    (tmp_path / "config.json").write_text(json.dumps({"auths": entry}), encoding="utf-8")
    crane = Crane(
        kind_cluster.extras.crane(), guarded, insecure, env={"DOCKER_CONFIG": str(tmp_path)}
    )

    def push() -> str:
        names = targets([IMAGE], guarded, offered=[IMAGE])
        quiet = Progress(quiet=True)
        (pushed,) = push_images(kind_cluster.extras.archive, names, crane, progress=quiet)
        return pushed.digest

    if sentence:
        with pytest.raises(UsageError, match=sentence):
            push()
    else:
        assert push().startswith("sha256:")


def test_a_registry_that_is_not_there() -> None:
    """Exit code 2 and one sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "servicelab", "images", "push", "127.0.0.1:9", IMAGE],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        f"servicelab: 127.0.0.1:9/metallb/controller:{pins().metallb} can't be pushed: "
        "no registry answers at 127.0.0.1:9: connection refused"
    )


def test_nothing_is_left_of_it(registry: PrivateRegistry, kind_cluster: Cluster) -> None:
    """No container, no file on a node, no image; removing twice does no harm."""
    registry.remove()
    registry.remove()

    label = f"label=servicelab.cluster={kind_cluster.name}"
    listed = kind_cluster.engine.docker("ps", "--all", "--filter", label, "--format", "{{.Names}}")
    assert registry.container not in listed.split()
    for node in kind_cluster.nodes:
        assert not registry.pulled(node.name)
        assert not hosts.configured(kind_cluster, node.name, registry.name)
