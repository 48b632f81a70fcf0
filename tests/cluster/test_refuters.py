"""Every claim of every lab can fail: under its refuter it does, and for the stated reason.

For each lab one session of pytest runs its tests under its refuters, in iptables and nftables mode
or in those that --proxy-mode names, on a cluster of its own; the tests here read what came of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from servicelab.pytest_plugin import chosen_modes
from servicelab.verdict.catalogue import read_catalogue
from servicelab.verdict.refuter import load_refuters

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[2]
REFUTERS = Path("tests", "cluster", "refuters")
LABS = sorted(path.parent.name for path in ROOT.glob("labs/*/claims.toml"))
MODES = ("iptables", "nftables")
#: What these labs make is for the whole cluster (MetalLB's pools and advertisements): the fault of
#: one test would be mended by another beside it.
#: In labs/scale all tests are disruptive, and each of them makes a thousand Services.
ONE_AT_A_TIME = {"metallb", "scale"}
#: Waits that run out because something never comes true; Pods keep all their time to start.
SHORT = {"endpoints_follow": 4, "rules_programmed": 5, "service_reachable": 4, "dns_answers": 4,
         "many_rules_programmed": 40}  # fmt: skip
#: Here a busy machine must not hide which layer is broken.
LONG = {"layers_walked": 15}


def modes_of(config: pytest.Config) -> tuple[str, ...]:
    """The modes that the command line names, else both."""
    return chosen_modes(config) if config.option.proxy_mode else MODES


def cases(lab: str, modes: Sequence[str]) -> list[tuple[str, str, str]]:
    """A lab's claims, each in every mode where it is tested: lab, claim, mode."""
    claims = read_catalogue(ROOT / "labs" / lab / "claims.toml").claims.values()
    return [(lab, claim.id, mode) for mode in modes for claim in claims if mode in claim.modes]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each lab's claims, in the modes of this run."""
    if "claim" in metafunc.fixturenames:
        found = [case for lab in LABS for case in cases(lab, modes_of(metafunc.config))]
        metafunc.parametrize(
            ("session", "lab", "claim", "mode"),
            [(lab, lab, claim, mode) for lab, claim, mode in found],
            indirect=["session"],
            ids=[f"{claim}-{mode}" for _, claim, mode in found],
        )


@pytest.fixture(scope="session")
def sessions(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder for what the sessions write down, one for all processes of this run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "refuters"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def session(request: pytest.FixtureRequest, sessions: Path) -> dict[str, Any]:
    """What a lab's session wrote down, as servicelab.report.claims_json describes it.

    The process that needs it first runs it, the others wait; what a session printed is told once.
    """
    lab: str = request.param
    written = sessions / f"{lab}.json"
    with FileLock(sessions / f"{lab}.lock"):
        if not written.exists():
            print(run_refuted(lab, written, modes_of(request.config)))
    assert written.exists(), f"the session of {lab} ended early and wrote nothing"
    found: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return found


def run_refuted(lab: str, written: Path, modes: Sequence[str]) -> str:
    """Run a lab under its refuters; returns what pytest printed."""
    return subprocess.run(
        [
            sys.executable, "-m", "pytest", str(Path("labs", lab)),
            f"--refute={REFUTERS / lab}.py", f"--proxy-mode={','.join(modes)}",
            f"--cluster-name=refute-{lab}", f"--claims-json={written}",
            f"--numprocesses={0 if lab in ONE_AT_A_TIME else 2}", "--tb=short",
            *(f"--deadline={name}={seconds}" for name, seconds in {**SHORT, **LONG}.items()),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("session", LABS, indirect=True, ids=LABS)
def test_nothing_else_came_in_between(session: dict[str, Any]) -> None:
    """The session ran through: tests failed, but cluster and options were sound."""
    assert session["run"]["infrastructure"] == []
    assert session["run"]["exit_status"] == pytest.ExitCode.TESTS_FAILED


def test_a_claim_fails_under_its_refuter(
    session: dict[str, Any], lab: str, claim: str, mode: str
) -> None:
    """Under the fault the claim is not proved, or is another one, for the reason that is stated."""
    refuter = load_refuters(f"{REFUTERS / lab}.py", root=ROOT)[claim]
    (found,) = (each for each in session["claims"] if (each["id"], each["mode"]) == (claim, mode))
    # Only what nobody knows a verdict of in this mode may be left unasked there.
    if found["verdict"] == "skipped" and found["known"] is None:
        pytest.skip(found["message"])

    # Where a claim is known to be false, the fault may as well make it true: then it is the other
    # verdict that shows that the test can tell.
    told = found["message"] if found["verdict"] == "not proved" else found["differs"]
    assert told, f"`{found['verdict']}`, as known, under this fault: {refuter.why}"
    assert refuter.expects in told
    if refuter.layer:
        assert f"first broken layer: {refuter.layer}: " in found["message"]
