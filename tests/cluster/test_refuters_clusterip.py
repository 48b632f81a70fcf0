"""Every claim of the ClusterIP lab can fail: under its refuter it does, and for the stated reason.

One session of pytest runs the lab under its refuters, in both proxy modes, on a cluster of its own;
the tests here read what came of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from servicelab.verdict.catalogue import read_catalogue
from servicelab.verdict.refuter import load_refuters

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[2]
LAB = Path("labs", "clusterip")
REFUTERS = "tests/cluster/refuters/clusterip.py"
MODES = ("iptables", "nftables")
#: Waits that run out because something never comes true; Pods keep all their time to start.
SHORT = {"endpoints_follow": 4, "rules_programmed": 5, "service_reachable": 4, "dns_answers": 4}
#: Here a busy machine must not hide which layer is broken.
LONG = {"layers_walked": 15}

CLAIMS = read_catalogue(ROOT / LAB / "claims.toml").claims.values()
CASES = [(claim.id, mode) for mode in MODES for claim in CLAIMS if mode in claim.modes]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the session under refuters wrote down, as servicelab.report.claims_json describes it."""
    written = tmp_path_factory.mktemp("refuters") / "claims.json"
    finished = subprocess.run(
        [
            sys.executable, "-m", "pytest", str(LAB), f"--refute={REFUTERS}",
            f"--proxy-mode={','.join(MODES)}", "--cluster-name=servicelab-refute",
            f"--claims-json={written}", "--numprocesses=2", "--tb=short",
            *(f"--deadline={name}={seconds}" for name, seconds in {**SHORT, **LONG}.items()),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )  # fmt: skip
    print(finished.stdout)
    assert written.exists(), f"the session ended with {finished.returncode} and wrote nothing"
    found: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return found


def test_nothing_else_came_in_between(session: dict[str, Any]) -> None:
    """The session ran through: tests failed, but cluster and options were sound."""
    assert session["run"]["infrastructure"] == []
    assert session["run"]["exit_status"] == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(("claim", "mode"), CASES)
def test_a_claim_fails_under_its_refuter(session: dict[str, Any], claim: str, mode: str) -> None:
    """Under the fault the claim is not proved, and the message says why it is not."""
    refuter = load_refuters(REFUTERS, root=ROOT)[claim]
    (found,) = (each for each in session["claims"] if (each["id"], each["mode"]) == (claim, mode))

    assert found["verdict"] == "not proved", f"under this fault: {refuter.why}"
    assert refuter.expects in found["message"]
    if refuter.layer:
        assert f"first broken layer: {refuter.layer}: " in found["message"]
