"""What only some labs use: built or pulled when asked for, under the names that manifests have."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from servicelab.bundle import builder
from servicelab.bundle.bench import Bench
from servicelab.bundle.bundle import Bundle, Source
from servicelab.bundle.catalogue import catalogue
from servicelab.bundle.extras import (
    ARCHIVE,
    Extras,
    engine_name,
    extra_steps,
    gobgp_image_step,
    image_names,
    image_steps,
    registry_image_step,
)
from servicelab.bundle.portable import parts
from servicelab.bundle.steps import Step, missing
from servicelab.errors import UsageError
from servicelab.pins import pins
from servicelab.progress import Progress

CONTROLLER, SPEAKER = pins().metallb_images


class FakeEngine:
    """An engine that has what it was told to pull or load."""

    def __init__(self) -> None:
        self.images: set[str] = set()
        self.calls: list[tuple[str, ...]] = []

    def docker(self, *args: str, timeout: float = 0) -> str:
        """`docker pull`, `save` and `load`."""
        self.calls.append(args)
        if args[0] == "pull":
            self.images.add(args[-1])
        elif args[0] == "save":
            Path(args[2]).write_text(args[-1])
        elif args[0] == "load":
            with tarfile.open(args[-1]) as archive:
                self.images |= set(names_in(archive))
        return ""

    def try_docker(self, *args: str, timeout: float = 0) -> subprocess.CompletedProcess[bytes]:
        """`docker image inspect`."""
        there = args[-1] in self.images
        return subprocess.CompletedProcess(args, int(not there), b"", b"Error: No such image: x")


def names_in(archive: tarfile.TarFile) -> list[str]:
    """The names of the one image in an archive."""
    (image,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
    return list(image["RepoTags"])


@pytest.fixture(autouse=True)
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty cache, a user who is not root, and a compiler of empty programs; what it made."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(builder.os, "geteuid", lambda: 1000)
    made: list[str] = []
    real = builder.build

    def build(step: Step) -> None:
        if step.needs or step.name.startswith("official"):
            real(step)
        else:
            step.folder.mkdir(parents=True)
            (step.folder / step.name).write_text(step.name)
        made.append(step.name)

    monkeypatch.setattr(builder, "build", build)
    return made


def extras(source: Source, engine: FakeEngine | None = None) -> Extras:
    """Extras beside a cluster with images of this source."""
    path = Path("/nonexistent")
    bundle = Bundle(source, "node", path, path, "probe:1-key", None, "a test", "v1")
    return Extras(engine or FakeEngine(), bundle, Progress(quiet=True))  # type: ignore[arg-type]


def test_a_node_image_does_not_need_them() -> None:
    """A cluster starts without any of it."""
    needed = {step.name for step in missing(catalogue().final)}

    assert not needed & {step.name for step in extra_steps()}
    assert not {"metallb-controller", "metallb-speaker", "registry", "gobgpd", "crane"} & needed


def test_only_what_is_asked_for_is_built(compiled: list[str]) -> None:
    """The speaker costs neither the controller nor a registry, and is not built twice."""
    first = extras("bundle").archive(SPEAKER)

    assert compiled == ["metallb-speaker", "metallb-speaker-image"]
    assert extras("bundle").archive(SPEAKER) == first
    assert len(compiled) == 2


def test_an_archive_has_one_image_under_the_name_that_manifests_have() -> None:
    """A registry's client and a node's containerd find exactly that image in it."""
    with tarfile.open(extras("bundle").archive(CONTROLLER)) as archive:
        names = names_in(archive)
        (config,) = (
            name
            for name in archive.getnames()
            if name.endswith("json") and "/" not in name and name != "manifest.json"
        )
        settings = json.load(archive.extractfile(config))["config"]  # type: ignore[arg-type]

    assert names == ["quay.io/metallb/controller:v0.15.3"]
    assert settings["Entrypoint"] == ["/controller"]


def test_every_image_of_the_labs_manifests_has_an_archive() -> None:
    """Those of the tutorials' backends, our clients and MetalLB, from either source."""
    assert set(image_names()) == {*image_steps(), pins().probe_image}
    assert extras("official").archive(pins().probe_image).is_file()


def test_an_unknown_image_is_told_with_those_that_there_are() -> None:
    """One sentence, before anything is built."""
    with pytest.raises(UsageError, match=rf"no image nginx:1.27; it has .*{CONTROLLER}"):
        extras("bundle").archive("nginx:1.27")


def test_official_images_are_pulled_once_each() -> None:
    """MetalLB's own image is saved as it is; later no network is needed."""
    engine = FakeEngine()

    archive = extras("official", engine).archive(SPEAKER)
    again = extras("official", engine).archive(SPEAKER)

    assert archive == again
    assert archive.read_text() == SPEAKER
    assert [call[0] for call in engine.calls] == ["pull", "save"]
    assert extras("official", engine).registry_image() == "registry:3"
    assert engine.images == {SPEAKER, "registry:3"}


@pytest.mark.parametrize("source", ["bundle", "official"])
def test_what_nobody_publishes_comes_from_go(source: Source, compiled: list[str]) -> None:
    """crane, GoBGP's image and MetalLB's manifest are made the same way in any case."""
    found = extras(source)

    assert found.crane().name == "crane"
    assert found.metallb_manifest().name == "metallb-native.yaml"
    assert found.gobgp_image() == engine_name(gobgp_image_step())
    assert set(compiled) == {"crane", "metallb-manifest", "gobgpd", "gobgp", "gobgp-image"}


def test_an_engine_never_gets_another_registry_3() -> None:
    """What is built here has a name of our own there, with its key, and is loaded once."""
    engine = FakeEngine()

    name = extras("bundle", engine).registry_image()
    again = extras("bundle", engine).registry_image()

    assert name == again == f"servicelab.local/registry:{registry_image_step().key}"
    assert engine.images == {name}
    assert [call[0] for call in engine.calls] == ["load"]


def test_a_saved_bundle_has_all_of_it() -> None:
    """A machine without a network and without Go can run every lab."""
    saved = {part.path for part in parts()}

    assert {step.folder for step in extra_steps()} <= saved


def test_the_registry_serves_from_its_own_configuration(tmp_path: Path) -> None:
    """Our image has its configuration where the official one has its own."""
    step = registry_image_step()
    for need in step.needs:
        need.folder.mkdir(parents=True)
        (need.folder / need.name).write_text("x")
    bench = Bench(step, tmp_path / "result", tmp_path, tmp_path / "log")
    bench.folder.mkdir()

    step.build(bench)

    with tarfile.open(bench.folder / ARCHIVE) as archive:
        layer = next(member for member in archive if member.name.endswith("layer.tar"))
        with tarfile.open(fileobj=archive.extractfile(layer)) as content:
            assert set(content.getnames()) == {"bin/registry", "etc/distribution/config.yml"}
