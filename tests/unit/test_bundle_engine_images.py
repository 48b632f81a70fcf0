"""The bundle's images in an engine."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from servicelab.bundle.catalogue import Catalogue, catalogue
from servicelab.bundle.engine_images import ensure_imported, node_tag, probe_tag
from servicelab.errors import InfrastructureError
from servicelab.progress import Progress

QUIET = Progress(quiet=True)


class FakeEngine:
    """An engine with images; it takes any archive for what is asked for."""

    kind = "private"

    def __init__(self, loads: str = "") -> None:
        self.images: list[str] = []
        self.calls: list[tuple[str, ...]] = []
        self._loads = loads

    def docker(self, *args: str, timeout: float = 0) -> str:
        """What `docker` does."""
        self.calls.append(args)
        if args[0] == "load" and self._loads:
            self.images.insert(0, self._loads)
        if args[0] == "import":
            self.images.insert(0, args[-1])
        if args[:2] == ("image", "ls"):
            prefix = args[-1].rstrip("*")
            return "\n".join(name for name in self.images if name.startswith(prefix))
        return ""

    def try_docker(self, *args: str) -> subprocess.CompletedProcess[bytes]:
        """`docker image inspect` and `docker image rm`."""
        if args[1] == "rm":
            self.images.remove(args[-1])
        there = args[-1] in self.images
        return subprocess.CompletedProcess(args, int(not there), b"", b"Error: No such image: x")


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """The steps, in an empty cache."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path))
    return catalogue()


def test_images_are_put_into_the_engine_once(steps: Catalogue) -> None:
    """The tags hold the keys, so a second call finds them and does nothing."""
    engine: Any = FakeEngine(loads=probe_tag(steps))

    ensure_imported(engine, steps, QUIET)

    assert engine.images == [node_tag(steps), probe_tag(steps)]
    assert node_tag(steps).endswith(f"-{steps.node.key}")
    engine.calls.clear()
    ensure_imported(engine, steps, QUIET)
    assert engine.calls == []


def test_older_node_images_go_but_for_the_newest(steps: Catalogue) -> None:
    """The private engine keeps the current node image and the one before."""
    engine: Any = FakeEngine(loads=probe_tag(steps))
    name = node_tag(steps).rsplit("-", 1)[0]
    engine.images = [f"{name}-before", f"{name}-longbefore", "kindest/node:other"]

    ensure_imported(engine, steps, QUIET)

    assert sorted(engine.images) == sorted(
        [node_tag(steps), probe_tag(steps), f"{name}-before", "kindest/node:other"]
    )


def test_a_docker_that_was_there_keeps_its_images(steps: Catalogue) -> None:
    """Images of the user's own engine are never removed."""
    engine: Any = FakeEngine(loads=probe_tag(steps))
    engine.kind = "existing"
    name = node_tag(steps).rsplit("-", 1)[0]
    engine.images = [f"{name}-a", f"{name}-b"]

    ensure_imported(engine, steps, QUIET)

    assert {f"{name}-a", f"{name}-b"} <= set(engine.images)


def test_an_archive_that_holds_another_image_is_told(steps: Catalogue) -> None:
    """What was loaded must be the image of this key."""
    engine: Any = FakeEngine(loads="servicelab.local/probe:1-ffffffffffff")

    with pytest.raises(InfrastructureError, match=r"has no image servicelab.local/probe:1-"):
        ensure_imported(engine, steps, QUIET)
