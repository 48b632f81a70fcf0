"""Image references are read and completed as Docker does it."""

from __future__ import annotations

import pytest

from servicelab.errors import UsageError
from servicelab.manifests import ImageReference, checked_registry

SUM = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1.29", "docker.io/library/nginx:1.29"),
        (f"nginx@{SUM}", f"docker.io/library/nginx@{SUM}"),
        (f"nginx:1.29@{SUM}", f"docker.io/library/nginx:1.29@{SUM}"),
        ("metallb/speaker:v1", "docker.io/metallb/speaker:v1"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/a/b", "docker.io/a/b"),
        ("quay.io/metallb/speaker:v0.15.3", "quay.io/metallb/speaker:v0.15.3"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ("localhost/x", "localhost/x"),
        ("localhost:5000/x:1", "localhost:5000/x:1"),
        ("Harbor/x", "Harbor/x"),
        ("quay.io", "docker.io/library/quay.io"),
        ("[::1]:5000/x", "[::1]:5000/x"),
        ("10.0.0.1:443/a/b-c/d__e.f:T_1", "10.0.0.1:443/a/b-c/d__e.f:T_1"),
    ],
)
def test_a_short_name_is_completed(written: str, full: str) -> None:
    """The first part is a host if it has a dot, a port or a capital, or is localhost."""
    assert str(ImageReference.parse(written)) == full


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "nginx ", "Nginx", "ngi nx", "nginx:", "nginx@", ":1", "/nginx", "nginx/"),
        *("a//b", "nginx:-1", "nginx:1:2", f"nginx:{'1' * 129}", "nginx\n", "nginx:1\n", "ñ"),
        *("nginx@sha256:12", "nginx@sha256:" + "AB" * 32, "0123456789abcdef" * 4, "a" * 256),
        *("quay.io/", "-a.b/c", "http://quay.io/a", "${IMAGE}", "{{ .Values.image }}"),
        *("x___y", "a.-b"),
    ],
)
def test_what_is_no_reference_is_refused(written: str) -> None:
    """Docker would refuse it too; the error says why."""
    with pytest.raises(ValueError, match=r"."):
        ImageReference.parse(written)


def test_moving_keeps_path_tag_and_digest() -> None:
    """Only the registry changes."""
    moved = ImageReference.parse(f"quay.io/a/b:1@{SUM}").moved_to("harbor.example.org:8443/team")

    assert str(moved) == f"harbor.example.org:8443/team/a/b:1@{SUM}"


@pytest.mark.parametrize("registry", ["harbor.example.org", "harbor.example.org/team"])
def test_what_is_there_already_stays(registry: str) -> None:
    """An image of that registry, or of that project in it, is not moved again."""
    image = ImageReference.parse("harbor.example.org/team/a:1")

    assert image.moved_to(registry) is image


def test_a_neighbour_of_the_project_is_moved() -> None:
    """A project's name is compared as a whole."""
    image = ImageReference.parse("harbor.example.org/team2/a")

    assert str(image.moved_to("harbor.example.org/team")) == "harbor.example.org/team/team2/a"


def test_a_name_that_becomes_too_long_is_refused() -> None:
    """255 characters is the limit, the registry's name included."""
    with pytest.raises(ValueError, match="more than 255"):
        ImageReference.parse("a" * 240).moved_to("harbor.example.org")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("harbor.example.org", "harbor.example.org"),
        ("harbor.example.org/", "harbor.example.org"),
        ("h:5000/a/b", "h:5000/a/b"),
        ("localhost", "localhost"),
        ("index.docker.io/me", "docker.io/me"),
    ],
)
def test_a_registry_is_a_host_perhaps_with_a_port_and_a_project(given: str, taken: str) -> None:
    """A slash at the end does no harm."""
    assert checked_registry(given) == taken


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("https://harbor.example.org", "begins with https://"),
        ("harbor", "taken for a user of Docker Hub"),
        ("harbor/team", "taken for a user of Docker Hub"),
        ("", "is no registry"),
        ("a b.c", "is no registry"),
        ("h.x/Team", "is no registry"),
        ("h.x:port", "is no registry"),
        ("h.x//", "is no registry"),
    ],
)
def test_what_is_no_registry_is_refused(given: str, sentence: str) -> None:
    """One sentence says what is wrong and how to write it."""
    with pytest.raises(UsageError, match=sentence) as refused:
        checked_registry(given)

    assert refused.value.remedy
