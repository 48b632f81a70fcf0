"""IPVS' column from a guest, with a process on this machine in the guest's place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from servicelab.errors import InfrastructureError
from servicelab.report.results import PlannedTest
from servicelab.vm import column
from servicelab.vm.column import GuestColumn, without
from servicelab.vm.orders import IN_GUEST
from servicelab.vm.running import Ended
from servicelab.vm.streams import Sinks, take_lines

from ..conftest import FakeLab

CLUSTER = """
import os
import pytest
from servicelab.verdict.run_facts import run_facts

@pytest.fixture(scope="session")
def kind_cluster(request):
    run_facts(request.config).learn(kubernetes_version="v1.37.0")

@pytest.fixture(scope="session")
def proxy_mode(request, kind_cluster):
    here = "guest" if os.environ.get("SERVICELAB_IN_GUEST") else "host"
    assert (request.param == "ipvs") == (here == "guest")
    return request.param
"""
CLAIMS = """
[CIP-01]
says = "It answers"
known = [{ verdict = "holds" }]
[CIP-02]
says = "It rotates"
known = [{ verdict = "holds" }]
"""
TESTS = """
@claim("CIP-01")
def test_answers(proxy_mode):
    pass

@claim("CIP-02")
def test_rotates(proxy_mode, verdict):
    verdict.holds("in turn")
    assert proxy_mode != "nftables"
"""


class Process:
    """Runs the command as a process of this machine; what it was asked is kept."""

    def __init__(self, *, signals: tuple[int, ...] = (), breaks: str = "") -> None:
        self.signals = signals
        self.breaks = breaks
        self.commands: list[Sequence[str]] = []

    def __call__(
        self,
        command: Sequence[str],
        *,
        writable: Sequence[Path],
        progress: object,
        sinks: Sinks,
        env: Mapping[str, str],
    ) -> Ended:
        self.commands.append(command)
        if self.breaks == "start":
            raise InfrastructureError("the guest did not start")
        if self.breaks == "session":
            os.write(sinks.out, b"ERROR: no module named pytest\n")
            return Ended(1, ())
        source, into = os.pipe()
        taking = take_lines(source, sinks.reports)
        # As its third descriptor.
        program = f"import os, sys; os.dup2({into}, 3); os.execv(sys.executable, sys.argv[1:])"
        code = subprocess.call(
            [sys.executable, "-c", program, *command],
            env={**env, IN_GUEST: "1"},
            pass_fds=[into],
            stdout=sinks.out,
            stderr=sinks.err,
        )
        os.close(into)
        taking.join()
        return Ended(code, self.signals)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Process:
    """In a guest's place, wherever IPVS is asked for."""
    process = Process()

    def column_for(config: pytest.Config, modes: Sequence[str], recorder: Any) -> object:
        return GuestColumn(recorder, process)

    monkeypatch.setattr(column, "column_for", column_for)
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(IN_GUEST, raising=False)
    return process


@pytest.fixture
def lab(fake_lab: FakeLab, process: Process) -> FakeLab:
    """A lab of two claims."""
    fake_lab.write("conftest.py", CLUSTER)
    fake_lab.claims(CLAIMS)
    fake_lab.tests(TESTS)
    return fake_lab


def verdicts(lab: FakeLab) -> dict[tuple[str, str], str]:
    """What the run's claims.json says, by claim and mode."""
    file = lab.pytester.path / "claims.json"
    claims = json.loads(file.read_text())["claims"]
    return {(claim["id"], claim["mode"]): claim["verdict"] for claim in claims}


def test_the_guests_results_stand_in_the_same_matrix(lab: FakeLab, process: Process) -> None:
    """As if its tests had run here: in the counts, the matrix, the JSON and the exit code."""
    result = lab.run("--proxy-mode=all", "--claims-json=claims.json")

    result.assert_outcomes(passed=5, failed=1)
    assert verdicts(lab) == {
        ("CIP-01", "iptables"): "holds",
        ("CIP-01", "nftables"): "holds",
        ("CIP-01", "ipvs"): "holds",
        ("CIP-02", "iptables"): "holds",
        ("CIP-02", "nftables"): "not proved",
        ("CIP-02", "ipvs"): "holds",
    }
    (command,) = process.commands
    assert command[-2:] == ["--proxy-mode=ipvs", "--deadline-factor=6"]
    assert not [word for word in command if "claims" in word or word == "--proxy-mode=all"]
    result.stdout.fnmatch_lines(["*claims on Kubernetes v1.37.0*"])


def test_ipvs_alone_runs_nothing_here(lab: FakeLab) -> None:
    """The guest's facts are the run's, and all of it is well."""
    result = lab.run("--proxy-mode", "ipvs", "--claims-json", "claims.json")

    assert result.ret == 0
    assert set(verdicts(lab)) == {("CIP-01", "ipvs"), ("CIP-02", "ipvs")}


def test_a_failure_in_the_guest_fails_the_run(lab: FakeLab) -> None:
    """Its message is told here, too."""
    lab.tests(TESTS.replace('proxy_mode != "nftables"', 'proxy_mode != "ipvs", "no rotation"'))

    result = lab.run("--proxy-mode=iptables,ipvs", "--claims-json=claims.json")

    assert result.ret == 1
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*CIP-02 (ipvs): no rotation*"])
    assert verdicts(lab)["CIP-02", "ipvs"] == "not proved"


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        ("start", "*the guest did not start*"),
        ("session", "*the session in the guest ended with 1 and said: ERROR: no module*"),
    ],
)
def test_a_guest_that_fails_is_infrastructure(
    lab: FakeLab, process: Process, breaks: str, says: str
) -> None:
    """Its claims are skipped; those that ran here stand."""
    process.breaks = breaks

    result = lab.run("--proxy-mode=iptables,ipvs", "--claims-json=claims.json")

    assert result.ret == 3
    result.stdout.fnmatch_lines([says])
    assert verdicts(lab) == {
        ("CIP-01", "iptables"): "holds",
        ("CIP-01", "ipvs"): "skipped",
        ("CIP-02", "iptables"): "holds",
        ("CIP-02", "ipvs"): "skipped",
    }


def test_an_interrupt_ends_the_run_here_too(lab: FakeLab, process: Process) -> None:
    """It went to the guest first."""
    process.signals = (signal.SIGINT,)

    run = lab.pytester.runpytest_inprocess
    result = run("--proxy-mode=ipvs", "labs", no_reraise_ctrlc=True)

    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_nothing_selected_starts_no_guest(lab: FakeLab, process: Process) -> None:
    """-k left out what needs it."""
    lab.run("--proxy-mode=iptables,ipvs", "-k", "iptables")

    assert process.commands == []


def test_options_of_the_host_are_left_out_in_any_form() -> None:
    """With their values."""
    options = {"--proxy-mode": 1, "--keep-cluster": 0, "-n": 1}
    given = ["labs/x", "--proxy-mode", "all", "-q", "--proxy-mode=ipvs", "-n", "2", "-n2"]

    assert without(options, [*given, "--keep-cluster", "-k", "a"]) == ["labs/x", "-q", "-k", "a"]


def test_workers_tell_the_controller_what_they_left_out() -> None:
    """Under xdist the controller runs the guest, and only if some test needs it."""
    worker, controller = (GuestColumn(cast("Any", None)) for _ in range(2))
    worker.left_out["t[ipvs]"] = PlannedTest("t[ipvs]", "CIP-01", "ipvs", 1)
    told: dict[str, Any] = {}

    worker.pytest_sessionfinish(
        cast("pytest.Session", SimpleNamespace(config=SimpleNamespace(workeroutput=told)))
    )
    controller.pytest_testnodedown(SimpleNamespace(workeroutput=told), None)

    assert controller.left_out == worker.left_out
    json.dumps(told)  # it travels between processes
