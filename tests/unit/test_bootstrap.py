"""The environment of the Makefile: made once, renewed when a pin changes, clear when it can't."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bootstrap.py"
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, working on an empty checkout of its own."""
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "constraints.txt").write_text("pytest==1\n")
    venv = tmp_path / ".venv"
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    monkeypatch.setattr(module, "CONSTRAINTS", tmp_path / "constraints.txt")
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(module, "STAMP", venv / "stamp")
    monkeypatch.setattr(module, "LOG", venv / "log")
    return module


@pytest.fixture
def commands(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the script runs, instead of running it; `-m venv` leaves an interpreter."""
    ran: list[str] = []

    def record(command: list[str], **_: object) -> None:
        if "venv" in command:
            ran.append("venv")
            bootstrap.PYTHON.parent.mkdir(parents=True)
            bootstrap.PYTHON.touch()
        else:
            ran.append("pip" if "pip" in command else " ".join(command))

    monkeypatch.setattr(bootstrap, "run", record)
    return ran


def test_makes_the_environment_once(bootstrap: ModuleType, commands: list[str]) -> None:
    """A second call finds the stamp and runs nothing."""
    bootstrap.main()
    bootstrap.main()

    assert commands == ["venv", "pip"]


def test_a_changed_pin_installs_into_the_same_environment(
    bootstrap: ModuleType, commands: list[str]
) -> None:
    """Another version in constraints.txt is installed; the environment itself stays."""
    bootstrap.main()
    bootstrap.CONSTRAINTS.write_text("pytest==2\n")
    bootstrap.main()

    assert commands == ["venv", "pip", "pip"]


def test_another_interpreter_makes_it_anew(
    bootstrap: ModuleType, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one Python installed is of no use to another."""
    bootstrap.main()
    monkeypatch.setattr(sys, "version", "another")
    bootstrap.main()

    assert commands == ["venv", "pip", "venv", "pip"]


def test_an_interrupted_installation_is_not_taken_for_whole(
    bootstrap: ModuleType, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stamp is written after the last step only."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(bootstrap, "install", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bootstrap.main()
    bootstrap.main()

    assert commands[-1] == "pip"


def test_says_the_one_command_where_venv_is_missing(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without python3-venv and without root, the user reads what to type."""
    lacks_ensurepip(bootstrap, monkeypatch, user=1000)

    with pytest.raises(
        bootstrap.BootstrapError,
        match=rf"sudo apt-get install -y --no-install-recommends python{VERSION}-venv$",
    ):
        bootstrap.ensure_venv_works()


def test_root_gets_what_is_missing(
    bootstrap: ModuleType, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root it is installed; package lists that are too old are renewed, then tried again."""
    lacks_ensurepip(bootstrap, monkeypatch, user=0)
    tried: list[list[str]] = []

    def refuse(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        tried.append(command)
        return subprocess.CompletedProcess(command, 100)

    monkeypatch.setattr(bootstrap.subprocess, "run", refuse)
    bootstrap.ensure_venv_works()

    install = f"apt-get install -y --no-install-recommends python{VERSION}-venv"
    assert [" ".join(command) for command in tried] == [install]
    assert commands == ["/usr/bin/apt-get update", install]


def lacks_ensurepip(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, *, user: int) -> None:
    """Debian without python3-venv, as it looks to this user."""
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: user)


def test_a_failed_command_is_told_with_its_last_lines(bootstrap: ModuleType) -> None:
    """The error names the command, its status and what it said last."""
    script = "print('first'); print('no space left'); raise SystemExit(7)"

    with pytest.raises(bootstrap.BootstrapError, match=r"failed with 7") as caught:
        bootstrap.run([sys.executable, "-c", script])

    assert sys.executable in str(caught.value)
    assert str(caught.value).endswith("no space left")


def test_an_old_python_reads_why() -> None:
    """Python 3.10 ends with a sentence that says which version is needed and how to name it."""
    pretend = (
        "import runpy, sys; sys.version_info = (3, 10, 0, 'final', 0); "
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", pretend], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "is 3.10" in done.stderr
    assert "make PYTHON=" in done.stderr
