"""Packages are fetched by a private apt, whatever state it finds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from servicelab import apt_sources, debian
from servicelab.errors import InfrastructureError


class FakeApt:
    """Stands for apt-get and dpkg-deb: knows some packages, and notes what it was asked."""

    def __init__(self, *known: str) -> None:
        self.known = known
        self.asked: list[str] = []
        self.reachable = True
        self.gone_until_updated = False

    def __call__(
        self, command: list[str], timeout: float, *, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        assert timeout > 0
        action = next(word for word in command if word in {"update", "download", "-x"})
        self.asked.append("print" if "--print-uris" in command else action)
        if action == "update":
            self.gone_until_updated &= not self.reachable
            failure = "" if self.reachable else "E: Could not resolve 'mirror.test'"
            return self._answer(command, failure)
        if action == "-x":
            broken = Path(command[2]).read_text() == "broken"
            return self._answer(command, "dpkg-deb: error: unexpected end of file" * broken)
        names = command[command.index("download") + 1 :]
        names = [name for name in names if not name.startswith("--")]
        if missing := [name for name in names if name not in self.known]:
            return self._answer(command, f"E: Unable to locate package {missing[0]}")
        if "--print-uris" in command:
            lines = [f"'http://mirror.test/{n}_1%3a2.deb' {n}_1%3a2.deb 9 SHA256:00" for n in names]
            return subprocess.CompletedProcess(command, 0, "\n".join(lines), "")
        if self.gone_until_updated:
            return self._answer(command, "E: Failed to fetch  404  Not Found")
        assert cwd is not None
        for name in names:
            (cwd / f"{name}_1%3a2.deb").write_text(name)
        return self._answer(command, "")

    @staticmethod
    def _answer(command: list[str], failure: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 100 if failure else 0, "", failure)


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeApt:
    """A machine with a Debian mirror, an empty cache, and a fake apt."""
    fake = FakeApt("runc", "iptables")
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        debian, "machine_mirror", lambda: apt_sources.Mirror("http://mirror.test/d")
    )
    monkeypatch.setattr(debian, "_run", fake)
    monkeypatch.setattr(debian.shutil, "which", lambda name: f"/usr/bin/{name}")
    return fake


def test_fetch_returns_the_files_it_downloaded(apt: FakeApt, tmp_path: Path) -> None:
    """The files are named by apt, epochs and all, and are there."""
    debs = debian.fetch("bookworm", ["runc", "iptables"], tmp_path / "debs")

    assert [deb.name for deb in debs] == ["runc_1%3a2.deb", "iptables_1%3a2.deb"]
    assert all(deb.exists() for deb in debs)


def test_lists_are_read_once(apt: FakeApt, tmp_path: Path) -> None:
    """A second fetch of the same suite does not ask the mirror for its lists again."""
    debian.fetch("bookworm", ["runc"], tmp_path)
    debian.fetch("bookworm", ["iptables"], tmp_path)

    assert apt.asked.count("update") == 1


def test_lists_are_read_again_when_the_mirror_moved_on(apt: FakeApt, tmp_path: Path) -> None:
    """A version that the mirror has replaced meanwhile costs one more update, no error."""
    debian.fetch("bookworm", ["runc"], tmp_path)
    apt.gone_until_updated = True

    debian.fetch("bookworm", ["iptables"], tmp_path)

    assert apt.asked.count("update") == 2


def test_an_unknown_package_is_named(apt: FakeApt, tmp_path: Path) -> None:
    """The error says which package and which suite."""
    with pytest.raises(InfrastructureError, match="Debian bookworm has no package nosuch"):
        debian.fetch("bookworm", ["runc", "nosuch"], tmp_path)


def test_no_mirror_in_reach_is_said(apt: FakeApt, tmp_path: Path) -> None:
    """Without lists and without a mirror, the error has apt's own words."""
    apt.reachable = False

    with pytest.raises(InfrastructureError, match=r"gave no package lists for bookworm.*resolve"):
        debian.fetch("bookworm", ["runc"], tmp_path)


def test_the_private_apt_changes_nothing_of_the_machines(apt: FakeApt, tmp_path: Path) -> None:
    """Its lists, cache and status lie in servicelab's cache folder, and no hook runs."""
    debian.fetch("bookworm", ["runc"], tmp_path / "debs")

    configuration = (tmp_path / "cache/apt/bookworm/apt.conf").read_text()
    folder = tmp_path / "cache/apt/bookworm"
    assert f'Dir::State "{folder}"' in configuration
    assert f'Dir::Cache "{folder}/cache"' in configuration
    assert "#clear APT::Update::Post-Invoke;" in configuration


def test_a_broken_package_is_named(apt: FakeApt, tmp_path: Path) -> None:
    """A file that can't be unpacked stops with its name."""
    broken = tmp_path / "broken.deb"
    broken.write_text("broken")

    with pytest.raises(InfrastructureError, match=r"broken\.deb can't be unpacked"):
        debian.unpack([broken], tmp_path / "root")


def test_a_machine_without_apt_is_told_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Elsewhere than on Debian the error names the alternatives."""
    monkeypatch.setattr(debian.shutil, "which", lambda name: None)

    with pytest.raises(InfrastructureError, match=r"apt-get is not on this machine.*Docker"):
        debian.fetch("bookworm", ["runc"], tmp_path)
