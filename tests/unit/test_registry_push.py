"""Pushing to a private registry: names, what is there already, and every way to be refused."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest

from servicelab.errors import InfrastructureError, UsageError
from servicelab.progress import Progress
from servicelab.registry import Crane, push_images, targets
from servicelab.registry.refusal import is_absent, refusal

CONTROLLER = "quay.io/metallb/controller:v0.15.3"
SPEAKER = "quay.io/metallb/speaker:v0.15.3"
OFFERED = (CONTROLLER, SPEAKER, "nginx:1.29")
HOST = "harbor.example.org"
OURS, THEIRS = "sha256:" + "a" * 64, "sha256:" + "b" * 64
ABSENT = "Error: GET http://h/v2/metallb/controller/manifests/v1: MANIFEST_UNKNOWN: unknown tag=v1"


class FakeCrane(Crane):
    """Knows what a registry has, and remembers what is pushed."""

    def __init__(self, there: dict[str, str]) -> None:
        super().__init__(Path("crane"), HOST)
        object.__setattr__(self, "there", there)

    def digest(self, image: str) -> str:
        return self.there.get(image, "")

    def digest_of(self, archive: Path) -> str:
        return OURS

    def push(self, archive: Path, image: str) -> str:
        self.there[image] = OURS
        return OURS


def push(there: dict[str, str], *, replace: bool = False) -> tuple[list[str], str]:
    """Push the controller; what was printed for it, and the progress."""
    written = io.StringIO()
    done = push_images(
        Path,
        targets([CONTROLLER], HOST, offered=OFFERED),
        FakeCrane(there),
        progress=Progress(stream=written),
        replace=replace,
    )
    return [str(each) for each in done], written.getvalue()


def test_an_image_is_pushed_under_the_name_that_a_rewritten_manifest_has() -> None:
    """The registry in front, the path and the tag kept; one line of progress for it."""
    there: dict[str, str] = {}

    printed, progress = push(there)

    assert there == {f"{HOST}/metallb/controller:v0.15.3": OURS}
    assert printed == [f"{HOST}/metallb/controller:v0.15.3@{OURS}"]
    assert f"[ 1/1] push {HOST}/metallb/controller:v0.15.3  done" in progress


def test_what_is_there_already_is_not_pushed_again() -> None:
    """The same image, to the byte; the progress says so."""
    _, progress = push({f"{HOST}/metallb/controller:v0.15.3": OURS})

    assert "there already" in progress


def test_another_image_of_that_name_is_not_replaced() -> None:
    """Somebody else's image of that name stays, and the way out is said."""
    there = {f"{HOST}/metallb/controller:v0.15.3": THEIRS}

    with pytest.raises(UsageError, match=f"is taken: .* {THEIRS}; push to another.*--replace"):
        push(there)

    assert set(there.values()) == {THEIRS}


def test_another_image_is_replaced_when_asked() -> None:
    """With --replace it is pushed all the same."""
    there = {f"{HOST}/metallb/controller:v0.15.3": THEIRS}

    push(there, replace=True)

    assert set(there.values()) == {OURS}


def test_short_names_and_repeated_ones_are_understood() -> None:
    """`nginx:1.29` is docker.io/library/nginx:1.29, and pushed once."""
    images = ["nginx:1.29", "docker.io/library/nginx:1.29", SPEAKER]

    assert targets(images, "h:5/team", offered=OFFERED) == {
        "nginx:1.29": "h:5/team/library/nginx:1.29",
        SPEAKER: "h:5/team/metallb/speaker:v0.15.3",
    }


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("nginx:1.28", "the bundle has no image nginx:1.28; it has quay.io/metallb/controller"),
        ("quay.io/metallb/speaker", "the bundle has no image quay.io/metallb/speaker;"),
        ("Nginx", "the image 'Nginx' can't be read: names are in lower case"),
        ("", "the image '' can't be read"),
    ],
)
def test_an_image_that_is_not_in_the_bundle(image: str, sentence: str) -> None:
    """One sentence names it, and those that there are."""
    with pytest.raises(UsageError) as refused:
        targets([image], HOST, offered=OFFERED)

    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("said", "problem", "remedy"),
    [
        (
            'Error: Get "https://harbor.example.org/v2/": dial tcp: lookup harbor.example.org on '
            "10.0.0.1:53: no such host",
            "the registry's host harbor.example.org can't be resolved",
            "check its name",
        ),
        (
            'Error: Get "https://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection '
            'refused; Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection '
            "refused",
            "no registry answers at harbor.example.org: connection refused",
            "check its host and port",
        ),
        (
            'Error: Get "https://h/v2/": dial tcp 192.0.2.1:443: i/o timeout',
            "no registry answers at harbor.example.org: i/o timeout",
            "check its host and port",
        ),
        (
            'Error: Get "https://h:5/v2/": http: server gave HTTP response to HTTPS client',
            "does not speak TLS",
            "--insecure",
        ),
        (
            'Error: Get "https://10.0.0.7:5000/v2/": tls: failed to verify certificate: x509: '
            "cannot validate certificate for 10.0.0.7 because it doesn't contain any IP SANs; GET "
            "http://10.0.0.7:5000/v2/: unexpected status code 400 Bad Request: Client sent an "
            "HTTP request to an HTTPS server.\n\n",
            "does not trust: cannot validate certificate for 10.0.0.7 because it doesn't contain "
            "any IP SANs",
            "SSL_CERT_FILE",
        ),
        (
            'Error: Get "https://h/v2/": tls: failed to verify certificate: x509: certificate '
            "signed by unknown authority",
            "does not trust: certificate signed by unknown authority",
            "--insecure",
        ),
        (
            'Error: Get "https://h/v2/": tls: first record does not look like a TLS handshake',
            "there is no TLS connection with the registry",
            "--insecure",
        ),
        (
            "Error: HEAD http://h/v2/metallb/controller/manifests/v1: unexpected status code 401 "
            "Unauthorized (HEAD responses have no body, use GET for details)",
            "wants a login",
            "docker login harbor.example.org`",
        ),
        (
            "2026/11/21 14:57:37 HEAD request failed, falling back on GET: HEAD http://h/: 401\n"
            "Error: GET http://h/v2/a/manifests/v1: UNAUTHORIZED: authentication required; [map[]]",
            "wants a login",
            "the project must exist",
        ),
        (
            "Error: POST https://h/v2/a/blobs/uploads/: DENIED: requested access is denied",
            "does not let this login push there",
            "the account may push",
        ),
        (
            "Error: POST https://h/v2/a/blobs/uploads/: unexpected status code 403 Forbidden",
            "does not let this login push there",
            "the account may push",
        ),
        (
            "Error: POST https://h/v2/a/blobs/uploads/: NAME_UNKNOWN: project not found",
            "knows no such place",
            "project must be made first",
        ),
        (
            "Error: POST http://h/v2/a/blobs/uploads/: unexpected status code 405 Method Not "
            "Allowed: Method not allowed",
            "takes no pushes",
            "can be pushed to",
        ),
        (
            "Error: PUT https://h/v2/a/manifests/v1: PRECONDITION: Failed to process request due "
            "to 'a:v1' configured as immutable.",
            "does not let it be replaced",
            "another project",
        ),
        (
            "Error: PATCH https://h/v2/a/blobs/uploads/x: unexpected status code 413 Request "
            "Entity Too Large: <html>…",
            "too large",
            "client_max_body_size",
        ),
        (
            "Error: parsing config file (/home/me/.docker/config.json): invalid character 'b' "
            "looking for beginning of object key string",
            "Docker's credentials file /home/me/.docker/config.json can't be read",
            "docker login harbor.example.org",
        ),
        (
            'Error: error getting credentials - err: exec: "docker-credential-nope": executable '
            "file not found in $PATH, out: ``",
            "Docker's credentials helper failed",
            "credsStore",
        ),
        (
            "Error: PUT https://h/v2/a/manifests/v1: unexpected status code 500 Internal Server "
            "Error: " + "x" * 1000,
            "unexpected status code 500 Internal Server Error: xxx",
            "see the log of harbor.example.org",
        ),
        ("", "can't be pushed", "see the log of harbor.example.org"),
    ],
)
def test_a_registry_that_refuses_gets_one_sentence(said: str, problem: str, remedy: str) -> None:
    """Whatever crane printed: which image, what is wrong, what to do; never a page of it."""
    error = refusal(said, f"{HOST}/team", f"{HOST}/team/metallb/controller:v1")

    assert error.problem.startswith(f"{HOST}/team/metallb/controller:v1 can't be pushed: ")
    assert problem in error.problem
    assert remedy in error.remedy
    assert "\n" not in str(error)
    assert len(str(error)) < 600


def test_an_absent_image_is_no_refusal() -> None:
    """A registry that could tell says that it has none of that name."""
    assert is_absent(f"2026/11/21 HEAD request failed, falling back on GET\n{ABSENT}")
    assert is_absent("Error: GET http://h/v2/a/manifests/1: unexpected status code 404 Not Found")
    assert not is_absent("Error: GET http://h/v2/a/manifests/1: UNAUTHORIZED: no")


def fake_binary(folder: Path, script: str) -> Path:
    """A program in crane's place."""
    binary = folder / "crane"
    binary.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    return binary


def test_crane_gets_the_users_environment_and_the_flag(tmp_path: Path) -> None:
    """--insecure goes through, and DOCKER_CONFIG, where Docker keeps logins."""
    binary = fake_binary(tmp_path, 'echo "$DOCKER_CONFIG $*"')
    crane = Crane(binary, HOST, insecure=True, env={"DOCKER_CONFIG": "/there"})

    assert crane.digest("h:5/a:1") == "/there --insecure digest h:5/a:1"


def test_crane_says_the_digest_of_what_it_pushed(tmp_path: Path) -> None:
    """On its standard output, behind the image's name."""
    crane = Crane(fake_binary(tmp_path, f"echo 'h:5/a@{OURS}'; echo pushed >&2"), HOST)

    assert crane.push(Path("a.tar"), "h:5/a:1") == OURS


def test_crane_that_finds_nothing_says_so_with_an_empty_digest(tmp_path: Path) -> None:
    """No image of that name is an answer."""
    assert Crane(fake_binary(tmp_path, f"echo '{ABSENT}' >&2; exit 1"), HOST).digest("h/a") == ""


def test_crane_that_fails_raises_what_the_registry_said(tmp_path: Path) -> None:
    """Asking and pushing both."""
    crane = Crane(fake_binary(tmp_path, "echo 'Error: 401 Unauthorized' >&2; exit 1"), HOST)

    with pytest.raises(UsageError, match="wants a login"):
        crane.digest("h/a")
    with pytest.raises(UsageError, match="wants a login"):
        crane.push(Path("a.tar"), "h/a")


def test_a_broken_archive_or_crane_is_not_the_users_fault(tmp_path: Path) -> None:
    """Exit code 3: the bundle is broken."""
    crane = Crane(fake_binary(tmp_path, "echo 'Error: unexpected EOF' >&2; exit 1"), HOST)

    with pytest.raises(InfrastructureError, match="no archive of one image"):
        crane.digest_of(tmp_path / "a.tar")
    with pytest.raises(InfrastructureError, match="can't be run"):
        Crane(tmp_path / "absent", HOST).digest("h/a")
