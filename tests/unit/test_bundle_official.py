"""Official images and programs, with a fake engine and a local HTTP server; and the choice."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from servicelab.bundle import choice, releases
from servicelab.bundle.archive import architecture
from servicelab.bundle.choice import ensure_bundle
from servicelab.bundle.listing import list_images
from servicelab.engine import Engine
from servicelab.engine.registry import Reach
from servicelab.errors import InfrastructureError, UsageError
from servicelab.pins import pins
from servicelab.progress import Progress

QUIET = Progress(quiet=True)


class FakeEngine:
    """An engine that has the images that it was told to pull, build or load."""

    kind = "existing"

    def __init__(self) -> None:
        self.images: set[str] = set()
        self.calls: list[tuple[str, ...]] = []

    def docker(self, *args: str, input: object = None, timeout: float = 0) -> str:
        """What `docker` does, without any image."""
        self.calls.append(args)
        if args[0] == "pull":
            self.images.add(args[-1])
        elif args[0] == "build":
            self.images |= {args[i + 1] for i, arg in enumerate(args) if arg == "--tag"}
            folder = Path(args[-1])
            assert (folder / "Dockerfile").exists()
            assert (folder / "scripts/servicelab_probe.py").exists()
        elif args[0] == "save":
            names = list(args[3:])
            assert set(names) <= self.images
            Path(args[2]).write_text("\n".join(names))
        elif args[0] == "load":
            self.images |= set(Path(args[-1]).read_text().split())
        return ""

    def try_docker(self, *args: str, timeout: float = 0) -> subprocess.CompletedProcess[bytes]:
        """`docker image inspect`."""
        there = args[-1] in self.images
        error = b"" if there else b"Error: No such image: x"
        return subprocess.CompletedProcess(args, 0 if there else 1, b"", error)


@pytest.fixture
def engine() -> Any:
    """An engine without images."""
    return FakeEngine()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """What a local server serves in the projects' place, by path."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(choice.KUBERNETES_VARIABLE, raising=False)
    served: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(releases, "KIND_URL", f"{base}/kind")
    monkeypatch.setattr(releases, "KUBECTL_URL", f"{base}/kubectl")
    for version in (pins().kubernetes, "v1.36.4"):
        put(served, f"/kubectl/{version}/bin/linux/{architecture()}/kubectl", ".sha256")
    put(served, f"/kind/{pins().kind}/kind-linux-{architecture()}", ".sha256sum")
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def put(served: dict[str, bytes], path: str, suffix: str) -> None:
    """Serve a program, whose content is its path, and its sum."""
    served[path] = path.encode()
    digest = hashlib.sha256(served[path]).hexdigest()
    served[path + suffix] = f"{digest}  {path.rsplit('/', 1)[-1]}\n".encode()


def test_official_images_are_pulled_and_saved_once(engine: Any, files: dict[str, bytes]) -> None:
    """One archive has what the node image lacks; a second call asks nobody for anything."""
    bundle = ensure_bundle(engine, source="official", progress=QUIET)

    digest = pins().node_images[pins().kubernetes]
    assert bundle.source == "official"
    assert bundle.node_image == f"kindest/node:{pins().kubernetes}@{digest}"
    assert bundle.archive is not None
    saved = bundle.archive.read_text().split()
    assert saved == [pins().agnhost_image, pins().probe_image, bundle.probe_image]
    assert {bundle.node_image, bundle.probe_image} <= engine.images
    assert bundle.kind.stat().st_mode & 0o111
    assert bundle.kubectl.read_bytes().startswith(b"/kubectl/v1")
    engine.calls.clear()
    files.clear()

    assert ensure_bundle(engine, source="official", progress=QUIET) == bundle
    assert engine.calls == []


def test_another_engine_gets_the_probe_from_the_archive(
    engine: Any, files: dict[str, bytes]
) -> None:
    """What was saved is loaded, not built again."""
    bundle = ensure_bundle(engine, source="official", progress=QUIET)
    other: Any = FakeEngine()

    ensure_bundle(other, source="official", progress=QUIET)

    assert [call[0] for call in other.calls] == ["load", "pull"]
    assert {bundle.node_image, bundle.probe_image} <= other.images


def test_a_damaged_download_is_refused(engine: Any, files: dict[str, bytes]) -> None:
    """A program whose sum is not the published one is not kept."""
    path = next(path for path in files if path.endswith(f"kind-linux-{architecture()}"))
    files[path] = b"something else"

    with pytest.raises(InfrastructureError, match="is damaged: its SHA-256 sum"):
        ensure_bundle(engine, source="official", progress=QUIET)

    assert list_images() == []


def test_a_missing_release_says_where_it_was_looked_for(
    engine: Any, files: dict[str, bytes]
) -> None:
    """The address and the status are named, and the way out."""
    files.clear()

    with pytest.raises(InfrastructureError, match=r"http://127.*status 404.*--images bundle"):
        ensure_bundle(engine, source="official", progress=QUIET)


def test_another_kubernetes_is_official(
    engine: Any, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that the bundle does not build comes from the official images, kubectl too."""
    monkeypatch.setenv(choice.KUBERNETES_VARIABLE, "1.36.4")

    bundle = ensure_bundle(engine, progress=QUIET)

    assert bundle.kubernetes == "v1.36.4"
    assert bundle.node_image.startswith("kindest/node:v1.36.4@sha256:")
    assert b"v1.36.4" in bundle.kubectl.read_bytes()


def test_the_bundle_has_one_kubernetes(engine: Any) -> None:
    """Asked for another version, it names its own and the way out."""
    with pytest.raises(UsageError, match=rf"{pins().kubernetes}, not v1.36.4; use --images off"):
        ensure_bundle(engine, source="bundle", progress=QUIET, kubernetes="v1.36.4")


def test_an_unreadable_version_is_refused(engine: Any) -> None:
    """A version must be one."""
    with pytest.raises(UsageError, match="'latest' can't be read; write it like v"):
        ensure_bundle(engine, progress=QUIET, kubernetes="latest")


def test_an_unknown_source_is_refused(engine: Any) -> None:
    """The message names the three that there are."""
    with pytest.raises(UsageError, match="choose from auto, official, bundle"):
        ensure_bundle(engine, source="offical", progress=QUIET)


def test_auto_takes_official_images_where_a_registry_answers(
    engine: Any, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says that it answers."""
    monkeypatch.setattr(choice, "registry_in_reach", lambda engine: Reach(True, "r in reach"))

    bundle = ensure_bundle(engine, progress=QUIET)

    assert (bundle.source, bundle.reason) == ("official", "r in reach")


def test_auto_keeps_to_what_was_pulled(
    engine: Any, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the train, what was pulled at home is used."""
    ensure_bundle(engine, source="official", progress=QUIET)
    monkeypatch.setattr(choice, "registry_in_reach", lambda engine: Reach(False, "no"))

    bundle = ensure_bundle(engine, progress=QUIET)

    assert (bundle.source, bundle.reason) == ("official", "they were pulled before")


def test_auto_builds_where_no_registry_answers(
    engine: Engine, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says which one does not."""
    monkeypatch.setattr(choice, "registry_in_reach", lambda engine: Reach(False, "r is silent"))
    monkeypatch.setattr(choice, "ensure_built", lambda steps, progress: None)
    monkeypatch.setattr(choice, "ensure_imported", lambda engine, steps, progress: None)

    bundle = ensure_bundle(engine, progress=QUIET)

    assert (bundle.source, bundle.reason) == ("bundle", "no registry answers: r is silent")
    assert bundle.node_image.startswith(f"kindest/node:{pins().kubernetes}-")
    assert bundle.probe_image.startswith(f"{pins().probe_image}-")
    assert bundle.archive is None
