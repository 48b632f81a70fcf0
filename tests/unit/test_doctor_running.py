"""Which engine there is or could be, and what was left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servicelab.doctor.running import engine_finding, leftover_finding, leftover_findings
from servicelab.engine import Engine, EngineStatus

NONE = EngineStatus(None, None, "", 0, "")
REFUSED = EngineStatus(None, None, "", 0, "permission denied")


def test_an_engine_that_answers_is_fine() -> None:
    """Whoever asks."""
    running = Engine("existing", Path("/usr/bin/docker"), None, {})
    found = engine_finding(EngineStatus(running, None, "28.0", 2, ""), root=False, programs=False)

    assert found.level == "ok"
    assert "existing Docker 28.0" in found.seen


def test_root_without_docker_gets_the_private_engine() -> None:
    """From the cache, or from the mirror."""
    assert "in the cache" in engine_finding(NONE, root=True, programs=True).seen
    assert "will be fetched" in engine_finding(NONE, root=True, programs=False).seen


def test_no_way_to_an_engine_is_an_error() -> None:
    """Not root; or root without a Debian mirror and an empty cache."""
    other = engine_finding(REFUSED, root=False, programs=True)
    lost = engine_finding(NONE, root=True, programs=False, no_mirror="no Debian archive")

    assert other.level == lost.level == "error"
    assert "permission denied" in other.seen
    assert "images load" in lost.remedy


def test_leftovers_name_their_remedy() -> None:
    """One command for each kind."""
    assert leftover_finding([], dead_engine=False).level == "ok"
    both = leftover_finding(["a", "b"], dead_engine=True)
    assert both.level == "warn"
    assert both.remedy == "servicelab reap && servicelab engine stop"


def test_a_dead_owners_lease_is_a_leftover(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Read from the lease that its owner wrote."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path))
    folder = tmp_path / "state/clusters/lost"
    folder.mkdir(parents=True)
    lease = {
        "cluster": "lost",
        "owner": {"pid": 2**22 - 1, "started": 1.0, "boot_id": "another"},
        "run_id": "x",
        "keep": False,
        "made_by": "run",
        "node_image": "n",
    }
    (folder / "lease.json").write_text(json.dumps(lease))

    (found,) = leftover_findings()

    assert found.seen == "cluster lost of a dead owner"
    assert found.remedy == "servicelab reap"
