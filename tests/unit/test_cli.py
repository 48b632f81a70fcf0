"""The command line: one sentence and an exit code by kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def servicelab(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in an empty folder with an empty cache and no Docker."""
    return subprocess.run(
        [sys.executable, "-m", "servicelab", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cache,
        env={
            "PATH": "/nonexistent",
            "HOME": str(cache),
            "SERVICELAB_CACHE": str(cache / "cache"),
        },
    )


def test_status_shows_that_there_is_nothing(tmp_path: Path) -> None:
    """With no engine and no cluster, status says so and succeeds."""
    done = servicelab("status", "--json", cache=tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["clusters"] == []


def test_reap_and_down_with_nothing_there_succeed(tmp_path: Path) -> None:
    """Cleaning where nothing is left is no error."""
    assert servicelab("reap", cache=tmp_path).stdout == "nothing to remove\n"
    assert servicelab("down", cache=tmp_path).stdout == "there is no cluster servicelab\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["up", "--proxy-mode", "ebpf"], "unknown proxy mode 'ebpf'; use one of iptables"),
        (["up", "--images", "mine"], "mine"),
        (["run", "nodeprot"], "there is no lab 'nodeprot'"),
        (["up", "--kind-config", "none.yaml"], "none.yaml does not exist"),
        (["images", "load", "none.tar"], "none.tar"),
        (["run", "--proxy-mode", "ebpf"], "ebpf"),
        (["report"], "no run has left results in .servicelab/runs; run a lab"),
        (["report", "7f3a"], "there is no run 7f3a in .servicelab/runs"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_a_wrong_word_is_a_usage_error(tmp_path: Path, arguments: list[str], says: str) -> None:
    """What can't be used is named in one sentence, with exit code 2 and no traceback."""
    done = servicelab(*arguments, cache=tmp_path)

    assert done.returncode == 2, done.stderr
    assert says in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_collecting_alone_starts_nothing(tmp_path: Path) -> None:
    """`--collect-only` lists the tests without engine, images or cluster."""
    done = servicelab("run", "--collect-only", "-q", cache=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_" in done.stdout
    assert not (tmp_path / "cache" / "state").exists()
