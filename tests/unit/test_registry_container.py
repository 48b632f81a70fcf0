"""A private registry beside a cluster: its access log, and how nodes are led to it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from servicelab.errors import InfrastructureError, UsageError
from servicelab.registry import PrivateRegistry, hosts
from servicelab.registry.access_log import Request, parse_log

LOG = """\
172.18.0.1 - - [21/Nov/2026:14:57:33 +0000] "PUT /v2/a/b/manifests/v1 HTTP/1.1" 201 0 "" "crane/v0.22.1 go-containerregistry/v0.22.1"
not a request
172.18.0.3:48790 - me [21/Nov/2026:14:57:35 +0000] "HEAD /v2/a/b/manifests/v1?ns=h.test HTTP/1.1" 200 428 "" "containerd/v2.2.1"
[fc00::3]:48790 - - [21/Nov/2026:14:57:35 +0000] "GET /v2/a/b/blobs/sha256:12?ns=h.test HTTP/1.1" 206 428 "" "containerd/v2.2.1"
fc00::3 - - [21/Nov/2026:14:57:35 +0000] "GET /v2/ HTTP/1.1" 401 2 "" ""
172.18.0.1 - - [21/Nov/2026:14:57:33 +0000] "POST /v2/a/blobs/uploads/ HTTP/1.1" 405 19 "" "x"
"""  # noqa: E501

CTR = """\
REF                                TYPE                        DIGEST      SIZE    PLATFORMS   LABELS
h.test/a/b:v1                      application/vnd.docker+json sha256:aaaa 9.0 MiB linux/amd64 io.cri-containerd.image=managed
h.test/a/b@sha256:aaaa             application/vnd.docker+json sha256:aaaa 9.0 MiB linux/amd64 io.cri-containerd.image=managed
h.test/c:v1                        application/vnd.docker+json sha256:cccc 9.0 MiB linux/amd64 io.cri-containerd.image=managed
quay.io/c:v1                       application/vnd.docker+json sha256:cccc 9.0 MiB linux/amd64 -
registry.k8s.io/pause:3            application/vnd.docker+json sha256:dddd 9.0 MiB linux/amd64 -
h.test/pause:3                     application/vnd.docker+json sha256:eeee 9.0 MiB linux/amd64 -
sha256:1111                        application/vnd.docker+json sha256:aaaa 9.0 MiB linux/amd64 io.cri-containerd.image=managed
sha256:3333                        application/vnd.docker+json sha256:cccc 9.0 MiB linux/amd64 io.cri-containerd.image=managed
sha256:4444                        application/vnd.docker+json sha256:eeee 9.0 MiB linux/amd64 io.cri-containerd.image=managed
"""  # noqa: E501


CONTENT = """\
DIGEST SIZE AGE LABELS
sha256:1111 390B 29 minutes containerd.io/gc.ref.snapshot.overlayfs=sha256:9999
sha256:aaaa 423B 29 minutes containerd.io/distribution.source.h.test=a,containerd.io/gc.ref.content.config=sha256:1111
sha256:cccc 423B 29 minutes containerd.io/gc.ref.content.config=sha256:3333,containerd.io/gc.ref.content.l.0=sha256:7777
sha256:dddd 423B 29 minutes containerd.io/gc.ref.content.config=sha256:4444
sha256:eeee 423B 29 minutes containerd.io/gc.ref.content.config=sha256:4444
"""  # noqa: E501


class FakeCluster:
    """Remembers what is run in its nodes."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.ran: list[tuple[str, ...]] = []

    def docker_exec(self, node: str, *argv: str, input: str | None = None) -> str:
        self.ran.append((node, *argv))
        return self.answers.get(argv[0] if argv[0] != "ctr" else argv[3], "")


def test_the_access_log_says_who_asked_for_what() -> None:
    """Each request with its client, without the port, and what was asked for."""
    pushed, resolved, layer, ping, upload = parse_log(LOG)

    assert resolved == Request(
        "172.18.0.3", "HEAD", "/v2/a/b/manifests/v1?ns=h.test", 200, "containerd/v2.2.1"
    )
    assert (resolved.repository, resolved.reference) == ("a/b", "v1")
    assert resolved.is_manifest
    assert not resolved.is_blob
    assert resolved.was_given
    assert (layer.client, layer.repository, layer.reference) == ("fc00::3", "a/b", "sha256:12")
    assert layer.is_blob
    assert layer.was_given
    assert (pushed.client, pushed.method, pushed.status) == ("172.18.0.1", "PUT", 201)
    assert (ping.client, ping.repository, ping.reference) == ("fc00::3", "", "")
    assert not upload.was_given
    assert not upload.reference.startswith("sha256")


def test_a_node_is_led_to_the_registry_by_a_file() -> None:
    """For that name only: plain HTTP, and pulling only."""
    assert hosts.hosts_toml("172.18.0.9:5000") == (
        'server = "http://172.18.0.9:5000"\n\n'
        '[host."http://172.18.0.9:5000"]\n'
        '  capabilities = ["pull", "resolve"]\n'
    )


@pytest.mark.parametrize(
    "configuration",
    [
        "[plugins.'io.containerd.cri.v1.images'.registry]\n"
        "  config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'",
        'config_path = ""\n[x]\nconfig_path = "/etc/containerd/certs.d"',
    ],
)
def test_a_containerd_that_reads_such_files_is_known(configuration: str) -> None:
    """By its own account."""
    hosts.check_folder_is_read(configuration, "worker")


@pytest.mark.parametrize("configuration", ["", "config_path = ''", "config_path = '/etc/nri'"])
def test_a_containerd_that_does_not_is_an_error(configuration: str) -> None:
    """Before anything waits for a pull that can't come."""
    cluster = FakeCluster(containerd=configuration)

    with pytest.raises(InfrastructureError, match="containerd on worker does not read"):
        hosts.configure(cast(Any, cluster), "worker", "h.test", "1.2.3.4:5000")

    assert [argv[1] for argv in cluster.ran] == ["containerd"]


def test_what_a_node_pulled_is_told_by_its_containerd() -> None:
    """References and digests of that registry's images, nobody else's."""
    assert hosts.images(
        cast(Any, FakeCluster(images=CTR, content=CONTENT)), "worker", "h.test"
    ) == {
        "h.test/a/b:v1": "sha256:aaaa",
        "h.test/a/b@sha256:aaaa": "sha256:aaaa",
        "h.test/c:v1": "sha256:cccc",
        "h.test/pause:3": "sha256:eeee",
    }


def test_forgetting_takes_every_name_of_the_registrys_images() -> None:
    """Their ids too, unless another image has the same, packed in the same way or otherwise."""
    cluster = FakeCluster(images=CTR, content=CONTENT)

    hosts.forget_images(cast(Any, cluster), "worker", "h.test")

    removed = cluster.ran[-1][cluster.ran[-1].index("--sync") + 1 :]
    named = ("h.test/a/b:v1", "h.test/a/b@sha256:aaaa", "h.test/c:v1", "h.test/pause:3")
    assert removed == (*named, "sha256:1111")


def test_forgetting_nothing_asks_nothing() -> None:
    """A node that never pulled is only looked at."""
    cluster = FakeCluster(images=CTR, content=CONTENT)

    hosts.forget_images(cast(Any, cluster), "worker", "other.test")

    assert len(cluster.ran) == 1


def test_a_reference_is_the_one_that_a_rewritten_manifest_has() -> None:
    """Its name in front, whatever registry it came from."""
    registry = PrivateRegistry(cast(Any, None), "x-registry", "172.18.0.9", "127.0.0.1:32768")

    assert registry.reference("nginx:1") == "registry.servicelab.test/library/nginx:1"
    with pytest.raises(UsageError, match="can't be read"):
        registry.reference("Nginx")
