"""The wheel: what is installed from it does the same as a checkout."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, built by its own backend without isolation."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=CHECKOUT, check=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def sources(folder: str) -> set[str]:
    """The files below a folder of the checkout that belong to the project."""
    root = CHECKOUT / folder
    ignored = {"__pycache__", ".pytest_cache", ".servicelab"}
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and not ignored & set(path.parts)
    }


def test_carries_every_file_of_the_library(wheel: zipfile.ZipFile) -> None:
    """Code, pins, Go module files, manifests, the probe: nothing under src is left behind."""
    carried = {
        name.removeprefix("servicelab/")
        for name in wheel.namelist()
        if name.startswith("servicelab/") and not name.startswith("servicelab/_labs/")
    }

    assert "pins.toml" in carried
    assert "py.typed" in carried
    assert carried == sources("src/servicelab")


def test_carries_labs_and_exercises(wheel: zipfile.ZipFile) -> None:
    """An installed servicelab has labs, exercises, the configuration and the root conftest."""
    carried = {name for name in wheel.namelist() if name.startswith("servicelab/_labs/")}

    assert carried == {
        "servicelab/_labs/kind-config.yaml",
        "servicelab/_labs/conftest.py",
        *(f"servicelab/_labs/labs/{name}" for name in sources("labs")),
        *(f"servicelab/_labs/exercises/{name}" for name in sources("exercises")),
    }


def test_labs_in_the_wheel_are_those_of_the_checkout(wheel: zipfile.ZipFile) -> None:
    """The content is carried unchanged."""
    for name in sources("labs"):
        assert (
            wheel.read(f"servicelab/_labs/labs/{name}") == (CHECKOUT / "labs" / name).read_bytes()
        )


def test_declares_the_command_and_the_plugin(wheel: zipfile.ZipFile) -> None:
    """`servicelab` is on the PATH after installation, and pytest finds the plugin by itself."""
    (entry_points,) = (n for n in wheel.namelist() if n.endswith(".dist-info/entry_points.txt"))
    declared = wheel.read(entry_points).decode()

    assert "[console_scripts]\nservicelab = servicelab.cli:main\n" in declared
    assert "[pytest11]\nservicelab = servicelab.pytest_plugin\n" in declared


def test_constraints_pin_every_requirement() -> None:
    """Each package that pyproject.toml names, build backend included, has one exact version."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    required = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
    ]
    pinned = constraints()

    for requirement in required:
        name, _, exact = requirement.partition("==")
        name = name.split(">=")[0].strip().lower()
        assert name in pinned
        if exact:
            assert pinned[name] == exact


def constraints() -> dict[str, str]:
    """Versions by package name, of constraints.txt."""
    pinned: dict[str, str] = {}
    for line in (CHECKOUT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            assert name.lower() not in pinned, f"{name} is pinned twice"
            pinned[name.lower()] = version
    return pinned
