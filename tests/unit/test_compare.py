"""What changes between two modes: told from the newest verdicts, and only from measured ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servicelab.errors import UsageError
from servicelab.report.compare import compare, render, to_dict


def cell(claim: str, mode: str, verdict: str, seen: str = "", message: str = "") -> dict[str, Any]:
    """A claim in one mode, as claims.json has it."""
    return {
        "id": claim, "says": f"{claim} is so", "mode": mode,
        "verdict": verdict, "seen": seen, "message": message,
    }  # fmt: skip


def write(runs: Path, name: str, *claims: dict[str, Any], **run: Any) -> None:
    """A run's results."""
    facts = {"kubernetes_version": "v1.37.0", "refuting": None, **run}
    folder = runs / f"2026-01-01-{name}"
    folder.mkdir(parents=True)
    content = {"schema": 1, "run": facts, "claims": list(claims)}
    (folder / "claims.json").write_text(json.dumps(content))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, the newer one in ipvs mode only."""
    write(
        tmp_path,
        "000001-aaaa",
        cell("NP-10", "iptables", "holds", "it answers"),
        cell("NP-10", "ipvs", "holds", "an old answer"),
        cell("CIP-06", "iptables", "holds"),
        cell("CIP-09", "iptables", "false", "at random"),
        cell("PXY-02", "iptables", "holds"),
        cell("LB-05", "iptables", "not proved", message="no reply"),
    )
    write(
        tmp_path,
        "000002-bbbb",
        cell("NP-10", "ipvs", "false", "refused"),
        cell("CIP-06", "ipvs", "holds"),
        cell("CIP-09", "ipvs", "holds", "in turn"),
        cell("LB-05", "ipvs", "holds"),
    )
    return tmp_path


def test_claims_that_differ_are_told_with_what_was_seen(runs: Path) -> None:
    """The newest verdict of each mode counts, over all runs."""
    found = compare("iptables", "ipvs", runs)

    assert [
        (each.claim, each.before.verdict, each.after.verdict) for each in found.differences
    ] == [
        ("CIP-09", "false", "holds"),
        ("NP-10", "holds", "false"),
    ]
    assert found.same == ("CIP-06",)
    text = render(found, width=60)
    assert "from iptables to ipvs, on Kubernetes v1.37.0" in text
    assert "    iptables  holds: it answers\n    ipvs      false: refused" in text
    assert max(map(len, text.splitlines())) <= 60


def test_a_claim_of_one_mode_is_no_difference(runs: Path) -> None:
    """What is not for the other mode, or was not proved there, is told apart."""
    found = compare("iptables", "ipvs", runs)

    assert [each.claim for each in found.one_sided] == ["LB-05", "PXY-02"]
    assert str(found.one_sided[0].before) == "not measured: no reply"


def test_one_run_may_be_named(runs: Path) -> None:
    """Then the others say nothing."""
    found = compare("iptables", "ipvs", runs, run="aaaa")

    assert found.same == ("NP-10",)
    assert to_dict(found)["differences"] == []


def test_another_version_and_a_refuting_run_do_not_count(runs: Path) -> None:
    """Only runs on the newest run's Kubernetes are compared, and none under faults."""
    write(runs, "000003-cccc", cell("CIP-06", "ipvs", "false"), refuting="faults.py")
    write(runs, "000004-dddd", cell("CIP-06", "ipvs", "false"), kubernetes_version="v1.38.0")

    with pytest.raises(UsageError, match=r"nothing was measured in iptables mode .*v1\.38\.0"):
        compare("iptables", "ipvs", runs)

    assert compare("iptables", "ipvs", runs, run="aaaa").same == ("NP-10",)


def test_what_can_not_be_compared_says_what_to_run(runs: Path, tmp_path: Path) -> None:
    """A mode with itself, no run at all, and a mode that was never run."""
    with pytest.raises(UsageError, match="name two modes"):
        compare("ipvs", "ipvs", runs)
    with pytest.raises(UsageError, match=r"no run in .*--proxy-mode iptables,ipvs"):
        compare("iptables", "ipvs", tmp_path / "none")
    with pytest.raises(UsageError, match=r"in nftables mode .*--proxy-mode nftables"):
        compare("iptables", "nftables", runs)


def test_hostile_text_stays_text(runs: Path) -> None:
    """Escapes that a terminal would act on do not get there."""
    write(runs, "000005-eeee", cell("CIP-06", "ipvs", "false", "\x1b[2Jgone\nnew line"))

    assert "\x1b" not in render(compare("iptables", "ipvs", runs))
