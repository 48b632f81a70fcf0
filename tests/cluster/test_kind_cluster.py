"""Our cluster is pytest-kind's: code written for that runs on it unchanged."""

from __future__ import annotations

import http.client
import subprocess
from pathlib import Path

import pytest
from pykube import Pod
from pytest_kind import KindCluster

from servicelab.cluster import Cluster
from servicelab.errors import InfrastructureError
from servicelab.pins import pins

pytestmark = pytest.mark.docker

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: forwarded
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: web
      image: {image}
      imagePullPolicy: Never
      args: [netexec, --http-port=8080]
"""


@pytest.fixture
def namespace(kind_cluster: KindCluster) -> str:
    """A namespace of the test's own, made with kubectl."""
    name = "pytest-kind-test"
    kind_cluster.kubectl("create", "namespace", name)
    yield name
    kind_cluster.kubectl("delete", "namespace", name, "--wait=false")


def test_it_is_a_kind_cluster_with_pytest_kinds_attributes(kind_cluster: KindCluster) -> None:
    """The fixture gives pytest-kind's class, with its attributes set."""
    assert isinstance(kind_cluster, KindCluster)
    assert kind_cluster.name
    assert Path(kind_cluster.kubeconfig_path).exists()
    assert Path(kind_cluster.kind_path).exists()
    assert Path(kind_cluster.kubectl_path).exists()


def test_kubectl_returns_what_it_printed(kind_cluster: KindCluster) -> None:
    """`kubectl(…)` is a string, as pytest-kind's."""
    assert "control-plane" in kind_cluster.kubectl("get", "nodes")


def test_a_failing_kubectl_raises_as_pytest_kinds_does(kind_cluster: KindCluster) -> None:
    """A kubectl that fails raises CalledProcessError, so that callers' handling goes on working."""
    with pytest.raises(subprocess.CalledProcessError):
        kind_cluster.kubectl("get", "nothing-of-that-kind", stderr=subprocess.DEVNULL)


def test_api_is_pykubes_client(kind_cluster: KindCluster) -> None:
    """`.api` works with pykube's objects."""
    pods = Pod.objects(kind_cluster.api, namespace="kube-system").filter(
        selector="k8s-app=kube-dns"
    )

    assert [pod.name for pod in pods]


def test_port_forward_gives_a_port_that_answers(kind_cluster: KindCluster, namespace: str) -> None:
    """`port_forward(…)` is a context manager with a local port that leads to the Pod."""
    manifest = POD.format(image=pins().agnhost_image)
    kind_cluster.kubectl("-n", namespace, "apply", "-f", "-", input=manifest)
    kind_cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/forwarded")

    with kind_cluster.port_forward("pod/forwarded", 8080, "-n", namespace) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/hostname")

        assert connection.getresponse().read() == b"forwarded"


def test_an_image_of_the_engine_can_be_loaded(kind_cluster: Cluster) -> None:
    """`load_docker_image(…)` puts an image into every node."""
    mark = "servicelab.local/loaded:test"
    kind_cluster.engine.docker("tag", kind_cluster.bundle.probe_image, mark)
    try:
        kind_cluster.load_docker_image(mark)
    finally:
        kind_cluster.engine.docker("rmi", mark)

    for node in kind_cluster.nodes:
        listing = kind_cluster.docker_exec(node.name, "ctr", "-n", "k8s.io", "images", "ls", "-q")
        assert mark in listing


def test_an_image_that_is_not_there_is_named(kind_cluster: Cluster) -> None:
    """Loading what the engine does not hold fails with the image's name."""
    with pytest.raises(InfrastructureError, match="no-such-image"):
        kind_cluster.load_docker_image("no-such-image:none")
