"""Running kind: steps, failures, and being stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from servicelab.cluster.creation import kind_step, run_kind
from servicelab.errors import InfrastructureError


def script(tmp_path: Path, text: str) -> str:
    """An executable that stands for kind."""
    path = tmp_path / "kind"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("line", "step"),
    [
        (" ✓ Starting control-plane 🕹️ \n", "Starting control-plane"),
        (" ✓ Preparing nodes 📦 📦 📦 \n", "Preparing nodes"),
        (" • Installing CNI 🔌  ...\n", None),
        (" ✗ Joining worker nodes 🚜\n", None),
        ("Have a nice day! 👋\n", None),
    ],
)
def test_a_step_is_known_by_its_tick(line: str, step: str | None) -> None:
    """A line with a tick names the step that ended; any other line does not."""
    assert kind_step(line) == step


def test_each_step_is_called_back_in_order(tmp_path: Path) -> None:
    """The caller hears of a step when it ends, and the log has every line."""
    kind = script(tmp_path, "print(' ✓ Preparing nodes 📦 ')\nprint(' ✓ Installing CNI 🔌 ')\n")
    heard: list[str] = []

    run_kind([kind, "create"], env=os.environ, log=tmp_path / "log", on_step=heard.append)

    assert heard == ["Preparing nodes", "Installing CNI"]
    assert "Installing CNI" in (tmp_path / "log").read_text()


def test_a_failure_is_told_in_kinds_own_words(tmp_path: Path) -> None:
    """The sentence holds kind's ERROR line, the exit status and the log's path."""
    kind = script(
        tmp_path, "print('ERROR: failed to create cluster: no space')\nprint('stack')\nexit(7)\n"
    )

    with pytest.raises(InfrastructureError, match="ended with 7: failed to create") as failed:
        run_kind([kind, "create", "cluster"], env=os.environ, log=tmp_path / "log")

    assert str(tmp_path / "log") in failed.value.remedy


def test_an_interruption_takes_kind_along(tmp_path: Path) -> None:
    """When the run is interrupted, no kind process goes on behind it."""
    kind = script(
        tmp_path,
        "import os, time\nprint(' ✓ pid', flush=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "print(' ✓ Preparing nodes 📦', flush=True)\ntime.sleep(60)\n",
    )

    def interrupt(step: str) -> None:
        if step == "Preparing nodes":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_kind([kind], env=os.environ, log=tmp_path / "log", on_step=interrupt)

    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
