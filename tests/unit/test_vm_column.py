"""IPVS' column from a guest, with a process on this machine in the guest's place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from servicelab.errors import InfrastructureError, ServicelabError
from servicelab.report.results import PlannedTest
from servicelab.vm import column, room
from servicelab.vm.column import GuestColumn, without
from servicelab.vm.durations import ENTRY
from servicelab.vm.orders import IN_GUEST
from servicelab.vm.part import MODULES
from servicelab.vm.running import Ended, Errand
from servicelab.vm.split import GuestTest
from servicelab.vm.streams import lines_to

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
    """Runs the commands as processes of this machine; what it was asked is kept."""

    def __init__(self, *, signals: tuple[int, ...] = (), breaks: str = "", room: int = 1) -> None:
        self.signals = signals
        self.breaks = breaks
        self.room = room
        #: Which of them it breaks; all by default.
        self.broken: Callable[[Errand], bool] = lambda errand: True
        self.commands: list[Sequence[str]] = []
        self.modules: list[list[str]] = []

    def __call__(
        self, errands: Sequence[Errand], *, writable: Sequence[Path], progress: object
    ) -> list[Ended | ServicelabError]:
        with ThreadPoolExecutor(len(errands)) as threads:
            return list(threads.map(self.run, errands))

    def run(self, errand: Errand) -> Ended | ServicelabError:
        """One of them."""
        self.commands.append(errand.command)
        self.modules.append(json.loads(errand.env.get(MODULES, "[]")))
        if self.breaks == "start" and self.broken(errand):
            return InfrastructureError("the guest did not start")
        if self.breaks == "session" and self.broken(errand):
            os.write(errand.sinks.out, b"ERROR: no module named pytest\n")
            return Ended(1, ())
        assert errand.sinks.reports
        with lines_to(errand.sinks.reports) as into:
            # As its third descriptor; and with SIGINT as it is in a guest, though a shell that runs
            # us in the background has it ignored.
            program = (
                "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
                f"os.dup2({into}, 3); os.execv(sys.executable, sys.argv[1:])"
            )
            with subprocess.Popen(
                [sys.executable, "-c", program, *errand.command],
                env={**errand.env, IN_GUEST: "1"},
                pass_fds=[into],
                stdout=errand.sinks.out,
                stderr=errand.sinks.err,
            ) as process:
                errand.reins.lead(cast("Any", Led(process)))
        return Ended(process.returncode, self.signals)


class Led:
    """A process that gets signals as a guest does."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.signal = process.send_signal


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Process:
    """In a guest's place, wherever IPVS is asked for."""
    process = Process()

    def column_for(config: pytest.Config, modes: Sequence[str], recorder: Any) -> object:
        return GuestColumn(recorder, process, lambda: process.room)

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


def test_a_deadline_given_in_seconds_is_the_hosts(lab: FakeLab, process: Process) -> None:
    """The guest gives each of them as many times more as all others."""
    lab.run("--proxy-mode=ipvs", "--deadline=pod_ready=10", "--deadline", "dns_answers=1.5")

    (command,) = process.commands
    assert command[-2:] == ["--deadline=pod_ready=60", "--deadline=dns_answers=9"]
    assert len([word for word in command if "pod_ready" in word or "dns_answers" in word]) == 2


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


SKIPPED = """
@claim("CIP-01")
def test_answers(proxy_mode):
    pytest.skip("this kernel has ip_vs")

@claim("CIP-02")
def test_rotates(proxy_mode):
    pass
"""


def test_a_skip_in_the_guest_is_one_here(lab: FakeLab, process: Process) -> None:
    """Also for plugins that want to know where, such as the one that writes JUnit's XML."""
    lab.tests(SKIPPED)

    result = lab.run("--proxy-mode=ipvs", "--junitxml=junit.xml")

    result.assert_outcomes(passed=1, skipped=1)
    xml = ElementTree.parse(lab.pytester.path / "junit.xml")
    (skipped,) = xml.iter("skipped")
    assert skipped.get("message") == "this kernel has ip_vs"


BREAKS_ON_SKIP = """
import os

def pytest_runtest_logreport(report):
    if report.skipped and not os.environ.get("SERVICELAB_IN_GUEST"):
        raise AssertionError("no skip for me")
"""


def test_a_plugin_that_refuses_a_report_loses_no_other(lab: FakeLab, process: Process) -> None:
    """The run is not sound, but what was told later counts."""
    lab.pytester.makepyfile(refusing=BREAKS_ON_SKIP)
    lab.pytester.syspathinsert()
    lab.tests(SKIPPED)

    result = lab.run("--proxy-mode=ipvs", "-p", "refusing", "--claims-json=claims.json")

    assert result.ret == 3
    result.stdout.fnmatch_lines(
        ["a plugin here could not take what the guest told: AssertionError: no skip for me*"]
    )
    assert verdicts(lab)["CIP-02", "ipvs"] == "holds"


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


TWO_CLAIMS = CLAIMS.replace("[CIP-02]", '[CIP-03]\nsays = "It ends"\nknown = []\n[CIP-02]')
BEHIND = """
@claim("CIP-01")
def test_answers_again(proxy_mode):
    pass

@claim("CIP-03")
@pytest.mark.parametrize("name", ["a::b", "[c]"])
def test_ends(proxy_mode, verdict, name):
    verdict.holds(name)

def test_without_a_claim(proxy_mode):
    pass
"""


@pytest.fixture
def wide_lab(fake_lab: FakeLab, process: Process, monkeypatch: pytest.MonkeyPatch) -> FakeLab:
    """A lab of three claims in two modules, one of the claims in both; there is room for two."""
    # In the root folder: what a lab's own conftest.py has for a session keeps its modules together.
    fake_lab.pytester.makeconftest(CLUSTER)
    fake_lab.write("conftest.py", "")
    fake_lab.claims(TWO_CLAIMS)
    fake_lab.tests(TESTS)
    fake_lab.tests(BEHIND, name="test_more.py")
    monkeypatch.setattr(room, "processors", lambda: 2)
    process.room = 2
    return fake_lab


def node_ids(lab: FakeLab) -> list[str]:
    """The node ids in the run's claims.json, in the lab's folder."""
    claims = json.loads((lab.pytester.path / "claims.json").read_text())["claims"]
    return sorted(test["nodeid"].rpartition("/")[2] for claim in claims for test in claim["tests"])


UNSET = """
@pytest.fixture
def unset():
    raise AssertionError("no server")

def test_unset(proxy_mode, unset):
    pass
"""
IN_MODULE = ["test_lab.py::test_answers[ipvs]", "test_lab.py::test_rotates[ipvs]"]
BEHIND_IT = [
    "test_more.py::test_answers_again[ipvs]",
    "test_more.py::test_ends[ipvs-[c]]",
    "test_more.py::test_ends[ipvs-a::b]",
]


def test_the_next_run_splits_by_what_the_tests_took(wide_lab: FakeLab, process: Process) -> None:
    """With their fixtures. A test that never came to run says nothing, nor does a spoilt file."""
    wide_lab.tests(f"import time\n{TESTS}    time.sleep(0.4)\n{UNSET}")
    wide_lab.run("--guests=2", "--proxy-mode=ipvs")
    cached = wide_lab.pytester.path / ".pytest_cache" / "v" / ENTRY
    took = json.loads(cached.read_text())

    slow = f"labs/clusterip/{IN_MODULE[1]}"
    assert took.pop(slow) >= 0.4
    assert sum(took.values()) < 0.4
    assert f"labs/clusterip/{BEHIND_IT[0]}" in took
    assert not [nodeid for nodeid in took if "test_unset" in nodeid]

    for text in ("[]", f'{{"{slow}": "long"}}', "{"):
        cached.write_text(text)
        wide_lab.run("--guests=2", "--proxy-mode=ipvs")
        assert json.loads(cached.read_text())[slow] >= 0.4


def test_two_guests_run_a_part_each(wide_lab: FakeLab, process: Process) -> None:
    """Each test once; a claim with tests in both is complete, and nothing is deselected."""
    result = wide_lab.run(
        "--guests=2", "--proxy-mode=iptables,ipvs", "--claims-json=claims.json", "--junitxml=j.xml"
    )

    assert result.ret == 0
    result.assert_outcomes(passed=12, deselected=0)
    modules = [["labs/clusterip/test_lab.py"], ["labs/clusterip/test_more.py"]]
    assert sorted(process.modules) == modules
    assert not any("--guests" in word for command in process.commands for word in command)
    seen = verdicts(wide_lab)
    assert {claim for claim, mode in seen if mode == "ipvs"} == {"CIP-01", "CIP-02", "CIP-03"}
    assert set(seen.values()) == {"holds"}
    assert [name for name in node_ids(wide_lab) if "ipvs" in name] == [*IN_MODULE, *BEHIND_IT]
    result.stdout.no_fnmatch_line("*not run*")
    junit = ElementTree.parse(wide_lab.pytester.path / "j.xml").getroot()
    names = Counter(case.get("name") for case in junit.iter("testcase"))
    assert len(names) == 12
    assert set(names.values()) == {1}


def test_what_is_told_of_a_test_comes_whole(wide_lab: FakeLab) -> None:
    """Two guests' lines do not get mixed up: each test's name stands with its result."""
    result = wide_lab.run("--guests=2", "--proxy-mode=ipvs", "-v")

    for name in [*IN_MODULE, *BEHIND_IT]:
        escaped = name.replace("[", "[[]")
        result.stdout.fnmatch_lines([f"labs/clusterip/{escaped} PASSED*"])


@pytest.mark.parametrize(("tests", "guests"), [(1, 1), (5, 2)])
def test_a_second_guest_only_where_it_pays(
    wide_lab: FakeLab, process: Process, tests: int, guests: int
) -> None:
    """Unless it is asked for."""
    for name in ("test_lab.py", "test_more.py"):
        body = "".join(f"def test_{number}(proxy_mode):\n    pass\n" for number in range(tests))
        wide_lab.tests(body, name=name)

    wide_lab.run("--proxy-mode=ipvs").assert_outcomes(passed=2 * tests)

    assert len(process.commands) == guests


@pytest.mark.parametrize("breaks", ["start", "session"])
def test_of_two_guests_one_may_fail(wide_lab: FakeLab, process: Process, breaks: str) -> None:
    """Only its tests are told as not run, with the reason; what the other found out counts."""
    process.breaks = breaks
    process.broken = lambda errand: "test_more" in errand.env[MODULES]

    result = wide_lab.run("--guests=2", "--proxy-mode=ipvs", "--claims-json=claims.json")

    assert result.ret == 3
    result.assert_outcomes(passed=2)
    assert verdicts(wide_lab) == {
        ("CIP-01", "ipvs"): "skipped",
        ("CIP-02", "ipvs"): "holds",
        ("CIP-03", "ipvs"): "skipped",
    }
    result.stdout.fnmatch_lines(
        ["*4 tests could not run for it, first labs/clusterip/test_more.py::test_answers_again*"]
    )
    assert node_ids(wide_lab) == [*IN_MODULE, *BEHIND_IT]


WAITS = """
import time
from pathlib import Path

@claim("CIP-01")
def test_answers_again(proxy_mode):
    Path("began").touch()
    time.sleep(60)

def test_without_a_claim(proxy_mode):
    Path("went on").touch()
"""
FAILS = """
import time
from pathlib import Path

@claim("CIP-02")
def test_rotates(proxy_mode):
    while not Path("began").exists():
        time.sleep(0.05)
    assert False, "no rotation"

def test_later(proxy_mode):
    Path("went on").touch()
"""


def test_a_failure_stops_the_other_guest_too_where_it_ends_the_run(wide_lab: FakeLab) -> None:
    """-x is for the run as a whole; nobody has interrupted it."""
    wide_lab.tests(FAILS)
    wide_lab.tests(WAITS, name="test_more.py")

    result = wide_lab.run("--guests=2", "--proxy-mode=ipvs", "-x", "--claims-json=claims.json")

    assert result.ret == 1
    result.assert_outcomes(failed=1)
    assert verdicts(wide_lab) == {("CIP-01", "ipvs"): "skipped", ("CIP-02", "ipvs"): "not proved"}
    result.stdout.no_fnmatch_line("*infrastructure*")
    assert not (wide_lab.pytester.path / "went on").exists()


def test_a_reader_sees_which_guest_says_what(
    wide_lab: FakeLab, capfd: pytest.CaptureFixture[str]
) -> None:
    """Line by line, and without empty ones."""
    wide_lab.pytester.makeconftest(
        CLUSTER + "\ndef pytest_sessionstart():\n    os.write(2, b'\\n[ 1] creating\\n')\n"
    )

    result = wide_lab.run("--guests=2", "--proxy-mode=ipvs")

    told = capfd.readouterr().err
    lines = [line for line in told.splitlines() if line.startswith("guest")]
    assert sorted(lines) == ["guest 1: [ 1] creating", "guest 2: [ 1] creating"]
    assert "2 guests that have it, 4 and 2 of them side by side\n" in told
    assert result.ret == 0


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("0", "'0' is neither auto nor a number from 1 on"),
        ("two", "'two' is neither auto nor a number from 1 on"),
        ("3", "each guest takes a processor, and this process may use 2: 3 are too many"),
    ],
)
def test_a_number_of_guests_that_can_not_be_is_refused(
    wide_lab: FakeLab, number: str, says: str
) -> None:
    """In one sentence, before anything starts."""
    result = wide_lab.run(f"--guests={number}", "--proxy-mode=ipvs")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*argument --guests: {says}"])


def test_options_of_the_host_are_left_out_in_any_form() -> None:
    """With their values."""
    options = {"--proxy-mode": 1, "--keep-cluster": 0, "-n": 1}
    given = ["labs/x", "--proxy-mode", "all", "-q", "--proxy-mode=ipvs", "-n", "2", "-n2"]

    assert without(options, [*given, "--keep-cluster", "-k", "a"]) == ["labs/x", "-q", "-k", "a"]


def test_workers_tell_the_controller_what_they_left_out() -> None:
    """Under xdist the controller runs the guest, and only if some test needs it."""
    worker, controller = (GuestColumn(cast("Any", None)) for _ in range(2))
    plan = PlannedTest("t.py::t[ipvs]", "CIP-01", "ipvs", 1)
    worker.left_out[plan.nodeid] = GuestTest(plan, "t.py", ("labs/x::server",), 90.0)
    told: dict[str, Any] = {}

    worker.pytest_sessionfinish(
        cast("pytest.Session", SimpleNamespace(config=SimpleNamespace(workeroutput=told)))
    )
    told = json.loads(json.dumps(told))  # it travels between processes
    controller.pytest_testnodedown(SimpleNamespace(workeroutput=told), None)

    assert controller.left_out == worker.left_out
