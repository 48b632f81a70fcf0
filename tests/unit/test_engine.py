"""Which engine is used, and what is said when there is none."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from servicelab import engine
from servicelab.engine import Engine, layout
from servicelab.engine.daemon import dockerd_command
from servicelab.engine.packages import Programs, ensure_programs
from servicelab.errors import InfrastructureError, UsageError
from servicelab.progress import Progress

VERSION = '[ "$1" = version ] && echo 28.0'


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with an empty cache, no DOCKER_HOST, and a PATH of one folder; that folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return folder


def docker_client(folder: Path, script: str) -> Path:
    """A docker command that is this shell script."""
    path = folder / "docker"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_docker_that_answers_is_used(machine: Path) -> None:
    """An existing Docker always wins, and nothing is started."""
    client = docker_client(machine, VERSION)

    found = engine.ensure_engine(Progress(quiet=True))

    assert (found.kind, found.docker_binary) == ("existing", client)


def test_no_docker_is_no_engine(machine: Path) -> None:
    """Without a client there is nothing to find, and that is no error."""
    assert engine.find_engine() is None
    assert str(engine.status()) == "none"


def test_a_client_without_an_engine_is_no_engine(machine: Path) -> None:
    """The client's own words are kept for the status."""
    docker_client(machine, "echo 'Cannot connect to the Docker daemon' >&2; exit 1")

    assert engine.find_engine() is None
    assert "Cannot connect" in str(engine.status())


def test_not_root_gets_the_remedy(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can't start the private engine is told who can."""
    docker_client(machine, "echo 'permission denied' >&2; exit 1")
    monkeypatch.setattr(engine.os, "geteuid", lambda: 1000)

    with pytest.raises(InfrastructureError, match=r"permission denied.*by root only") as caught:
        engine.ensure_engine(Progress(quiet=True))

    assert "servicelab engine start" in caught.value.remedy


def test_a_named_engine_that_does_not_answer_is_not_replaced(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With DOCKER_HOST set, no other engine is meant: neither used nor started."""
    docker_client(machine, "echo 'no route' >&2; exit 1")
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.9:2375")

    with pytest.raises(InfrastructureError, match=r"DOCKER_HOST=tcp://192\.0\.2\.9:2375: no route"):
        engine.ensure_engine(Progress(quiet=True))


def test_a_failed_command_is_quoted_with_its_last_lines(tmp_path: Path) -> None:
    """The message says which command, its exit code and what it said last."""
    client = docker_client(tmp_path, "echo one >&2; echo; echo two >&2; exit 7")

    with pytest.raises(InfrastructureError, match=r"`docker pull x` failed .* 7: one / two"):
        Engine("existing", client, None, {}).docker("pull", "x")


def test_a_command_that_hangs_is_given_up(tmp_path: Path) -> None:
    """A time-out is an infrastructure failure that says how long it waited."""
    client = docker_client(tmp_path, "exec sleep 60")

    with pytest.raises(InfrastructureError, match="did not finish within 0 s"):
        Engine("existing", client, None, {"PATH": "/usr/bin:/bin"}).docker("ps", timeout=0.2)


def test_input_reaches_the_command(tmp_path: Path) -> None:
    """Text or bytes go to stdin; without input the command reads an end of file."""
    client = docker_client(tmp_path, "exec cat")
    running = Engine("existing", client, None, {"PATH": "/usr/bin:/bin"})

    assert running.docker("import", input="tar") == "tar"
    assert running.docker("import", input=b"tar") == "tar"
    assert running.docker("import") == ""


def test_a_missing_client_is_said(tmp_path: Path) -> None:
    """A client that was deleted meanwhile is no traceback."""
    with pytest.raises(InfrastructureError, match="can't be run: No such file"):
        Engine("existing", tmp_path / "docker", None, {}).docker("ps")


def test_the_private_daemon_has_everything_of_its_own(machine: Path, tmp_path: Path) -> None:
    """No path of the command line is one that another Docker on the host uses."""
    where = layout()
    command = dockerd_command(where, Programs(tmp_path / "root"), IPv4Network("172.30.0.0/16"))

    for option in ("--host", "--data-root", "--exec-root", "--pidfile"):
        (value,) = [word.partition("=")[2] for word in command if word.startswith(f"{option}=")]
        assert str(tmp_path) in value or value.removeprefix("unix://").startswith(str(where.run))
    assert "--config-file=/dev/null" in command
    assert "--bridge=none" in command


def test_the_private_programs_complete_the_hosts_libraries(tmp_path: Path) -> None:
    """The host's own libraries are searched first: none of them is ever replaced."""
    (tmp_path / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    environment = Programs(tmp_path).environment("legacy")

    libraries = environment["LD_LIBRARY_PATH"].split(":")
    ours = [folder.startswith(str(tmp_path)) for folder in libraries]
    assert ours == sorted(ours)
    assert any(ours)
    assert environment["PATH"].split(":")[0] == str(tmp_path / "iptables-legacy")


def test_a_path_too_long_for_iptables_is_refused(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said before anything is fetched, with the variable to set."""
    monkeypatch.setenv("SERVICELAB_CACHE", "/" + "long/" * 40)

    with pytest.raises(UsageError, match="too long for iptables") as caught:
        ensure_programs(Progress(quiet=True))

    assert "SERVICELAB_CACHE" in caught.value.remedy
