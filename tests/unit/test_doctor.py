"""The doctor: every check reports, in time, whatever happens to it."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from servicelab.doctor import Finding, diagnose
from servicelab.doctor.rendering import render
from servicelab.errors import InfrastructureError


def test_findings_come_in_the_order_of_the_checks() -> None:
    """The quickest check does not jump the queue."""
    first_done = threading.Event()

    def slow() -> list[Finding]:
        assert first_done.wait(5)
        return [Finding("slow", "ok", "")]

    def quick() -> list[Finding]:
        first_done.set()
        return [Finding("quick", "ok", "")]

    found = diagnose([("slow", slow), ("quick", quick)], limit=5)

    assert [finding.name for finding in found] == ["slow", "quick"]


def test_a_check_that_hangs_is_reported_in_time() -> None:
    """The limit holds for all checks together, and the others' findings are there."""
    never = threading.Event()

    def hang() -> list[Finding]:
        never.wait(30)
        return []

    began = time.monotonic()
    found = diagnose([("a", hang), ("b", hang), ("c", lambda: [Finding("c", "ok", "")])], limit=0.3)

    assert time.monotonic() - began < 1.5
    assert [(finding.name, finding.level) for finding in found] == [
        ("a", "warn"),
        ("b", "warn"),
        ("c", "ok"),
    ]
    assert "no answer within 0.3 s" in found[0].seen
    never.set()


@pytest.mark.parametrize(
    "error", [PermissionError("no"), ValueError("odd"), InfrastructureError("x")]
)
def test_a_check_that_fails_is_a_finding(error: Exception) -> None:
    """One unreadable file does not hide the other findings."""

    def fail() -> list[Finding]:
        raise error

    (found,) = diagnose([("disk", fail)])

    assert (found.name, found.level) == ("disk", "warn")
    assert str(error) in found.seen


def test_this_machine_is_diagnosed_without_a_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All real checks come back with a finding, and nothing is written or started."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/nonexistent")

    names = {finding.name for finding in diagnose(limit=10)}

    assert names >= {
        "Python",
        "control groups",
        "capabilities",
        "inotify",
        "memory",
        "disk",
        "engine",
        "kernel: iptables mode",
        "kernel: nftables mode",
        "kernel: ipvs mode",
        "subnets",
        "registry",
        "leftovers",
    }
    assert not list(tmp_path.iterdir())


def test_a_finding_is_plain_data() -> None:
    """What --json prints."""
    assert Finding("disk", "warn", "2 GiB", "free some").to_dict() == {
        "name": "disk",
        "level": "warn",
        "seen": "2 GiB",
        "remedy": "free some",
    }


def test_the_table_shows_level_and_remedy_and_takes_brackets_as_text() -> None:
    """What was seen may contain anything."""
    stream = io.StringIO()

    render([Finding("disk", "warn", "[red]2 GiB", "free some")], Console(file=stream, width=80))

    assert "warn" in stream.getvalue()
    assert "[red]2 GiB" in stream.getvalue()
    assert "→ free some" in stream.getvalue()
