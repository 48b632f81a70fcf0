"""The bundle's images in a real engine, and a saved bundle on a machine with nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from servicelab.bundle import ensure_bundle, load, save
from servicelab.bundle.archive import Image, write_image
from servicelab.bundle.catalogue import catalogue
from servicelab.bundle.engine_images import probe_tag
from servicelab.bundle.steps import missing
from servicelab.engine import Engine, ensure_engine, stop_if_unused
from servicelab.pins import pins
from servicelab.progress import Progress

pytestmark = pytest.mark.docker
QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine with the images that this machine builds."""
    found = ensure_engine(Progress())
    try:
        steps = catalogue()
        if missing(steps.final):
            pytest.skip("the images are not built here: servicelab images build --images bundle")
        ensure_bundle(found, source="bundle", progress=Progress())
        yield found
    finally:
        stop_if_unused(found)


def test_programs_say_the_pinned_versions(engine: Engine) -> None:
    """kind, kubectl and the node image are of the versions in pins.toml."""
    bundle = ensure_bundle(engine, source="bundle", progress=QUIET)

    def printed(*command: str | Path) -> str:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        return done.stdout

    assert pins().kind in printed(bundle.kind, "version")
    assert pins().kubernetes in printed(bundle.kubectl, "version", "--client")
    inside = engine.docker(
        "run", "--rm", "--network=none", "--entrypoint=cat", bundle.node_image, "/kind/version"
    )
    assert inside == pins().kubernetes


def test_the_probe_image_answers(engine: Engine) -> None:
    """A container of the probe image asks what it is told to ask."""
    bundle = ensure_bundle(engine, source="bundle", progress=QUIET)

    said = engine.docker(
        "run", "--rm", "-i", "--network=none", bundle.probe_image,
        "python3", "/usr/lib/servicelab/servicelab_probe.py", "channel",
        input='{"id": 1, "op": "ping"}\n',
    )  # fmt: skip

    assert '"version"' in said


def test_an_engine_has_the_very_image_that_was_written(engine: Engine, tmp_path: Path) -> None:
    """The archive's image id is the one that the engine computes."""
    root = catalogue().probe.folder.parent
    program = next(root.glob("pause-*/pause"), None) or Path("/bin/true")
    image = Image(("servicelab.local/test:1",), ((program, "program"),))

    image_id = write_image(image, tmp_path / "image.tar")
    engine.docker("load", "--quiet", "--input", str(tmp_path / "image.tar"))
    try:
        seen = engine.docker("image", "inspect", "--format", "{{.Id}}", "servicelab.local/test:1")
    finally:
        engine.docker("image", "rm", "servicelab.local/test:1")

    assert seen.strip() == image_id


def test_a_saved_bundle_needs_neither_go_nor_network(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded into an empty cache, everything is there; the file is at most 1 GiB."""
    file = tmp_path / "bundle.tar"
    save(file, QUIET)
    assert file.stat().st_size <= 1 << 30
    tag = probe_tag(catalogue())
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9")

    load(file, QUIET)
    bundle = ensure_bundle(engine, source="bundle", progress=QUIET)

    assert bundle.kind.is_relative_to(tmp_path)
    assert bundle.probe_image == tag
    assert missing(catalogue().final) == []
