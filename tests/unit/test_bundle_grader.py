"""The grader's image: by its sources and its locked packages, and built only for those who ask."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import pytest

from servicelab.bundle import grader
from servicelab.bundle.extras import extra_steps, image_names, offered_images
from servicelab.bundle.grader import grader_image, locked_requirements, sources_digest


def test_every_package_is_locked_to_the_version_used_here() -> None:
    """And those that only development needs are left out."""
    found = dict(each.split("==") for each in locked_requirements())

    assert found["kubernetes"] == metadata.version("kubernetes")
    assert {"pytest-kind-ng", "typer", "urllib3", "websocket-client"} <= found.keys()
    assert not {"mypy", "ruff", "tox", "scipy", "hatchling"} & found.keys()


def test_the_name_changes_with_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change anywhere in the package or in an exercise, and nothing else, gives another image."""
    package = tmp_path / "servicelab"
    shutil.copytree(grader.PACKAGE, package, ignore=shutil.ignore_patterns("_labs"))
    before, name = sources_digest(), grader_image()
    monkeypatch.setattr(grader, "PACKAGE", package)
    assert sources_digest() == before

    (package / "grading" / "grader.py").open("a").write("# changed\n")

    assert sources_digest() != before
    assert grader_image() != name
    assert grader_image().startswith("servicelab.local/grader:")


def test_nobody_else_builds_it() -> None:
    """A registry can be given it; neither a lab nor `images build` asks for it."""
    assert grader_image() in offered_images()
    assert grader_image() not in image_names()
    assert not [step for step in extra_steps() if step.name.startswith("grader")]
