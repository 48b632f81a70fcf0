"""The JSON holds what the matrix shows, for machines."""

from __future__ import annotations

import json
from pathlib import Path

from servicelab.report import claims_json
from servicelab.report.results import ClaimTestResult, combine
from servicelab.verdict import Verdict
from servicelab.verdict.catalogue import Catalogue, Claim, Known
from servicelab.verdict.refuter import Refuter

FLOW = {"asked_from": "Pod client", "to": "10.96.0.7:80", "answered_by": "web-1", "times": 3}
CHART = {"title": "time", "x": "Services", "unit": "ms", "lines": []}
RESULTS = combine(
    [],
    [
        ClaimTestResult(
            "test_lab.py::test_it[ipvs]",
            "CIP-09",
            "ipvs",
            Verdict.HOLDS,
            "abcabc",
            seconds=1.23456,
            evidence="evidence/cip-09-ipvs",
            traffic=(FLOW,),
            charts=(CHART,),
        ),
    ],
    [
        Catalogue(
            Path("labs/clusterip/claims.toml"),
            {"CIP-09": Claim("CIP-09", "Round robin", known=(Known(Verdict.FALSE, ("ipvs",)),))},
        )
    ],
    modes=("ipvs",),
    kubernetes_version="v1.37.0",
)


def test_everything_measured_is_there() -> None:
    """Claim, verdict, known verdict, difference, observation, time and test."""
    content = claims_json.to_dict(RESULTS, {"kubernetes_version": "v1.37.0"})

    assert content["schema"] == 1
    assert content["run"] == {"kubernetes_version": "v1.37.0", "modes": ["ipvs"]}
    assert content["claims"] == [
        {
            "id": "CIP-09",
            "lab": "clusterip",
            "says": "Round robin",
            "mode": "ipvs",
            "verdict": "holds",
            "known": {"verdict": "false", "detail": "", "kubernetes": "", "modes": ["ipvs"]},
            "differs": "CIP-09 measured `holds` in ipvs mode on v1.37.0 (abcabc), known is `false`",
            "seen": "abcabc",
            "message": "",
            "seconds": 1.235,
            "tests": [
                {
                    "nodeid": "test_lab.py::test_it[ipvs]",
                    "verdict": "holds",
                    "seen": "abcabc",
                    "message": "",
                    "differs": "",
                    "seconds": 1.235,
                    "setup_seconds": 0,
                    "evidence": "evidence/cip-09-ipvs",
                    "traffic": [FLOW],
                    "charts": [CHART],
                }
            ],
        }
    ]


def test_a_claim_without_a_refuter_has_null() -> None:
    """In a session that refutes, each claim names its refuter or null."""
    refuter = Refuter("CIP-09", lambda: None, "expects this", "why")

    with_one = claims_json.to_dict(RESULTS, {}, refuters={"CIP-09": refuter})["claims"][0]
    without = claims_json.to_dict(RESULTS, {}, refuters={})["claims"][0]

    assert with_one["refuter"] == {"expects": "expects this", "why": "why"}
    assert without["refuter"] is None


def test_the_file_is_made_with_its_folder(tmp_path: Path) -> None:
    """The folder is made, the text is readable as it is, and no half file stays."""
    target = tmp_path / "new" / "claims.json"
    claims_json.write(target, {"verdict": str(Verdict.HOLDS_BUT)})

    assert json.loads(target.read_text(encoding="utf-8")) == {"verdict": "holds, but …"}
    assert "…" in target.read_text(encoding="utf-8")
    assert list(target.parent.iterdir()) == [target]
