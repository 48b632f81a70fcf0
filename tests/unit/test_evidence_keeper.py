"""Evidence of a claim is saved before its fixtures clean up, and the run's report links to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servicelab.report.evidence import names, sources
from servicelab.report.evidence.sources import Piece

CLAIMS = (
    "[CIP-04]\nsays = 'Relabelled away'\n\n[CIP-05]\nsays = 'Joins'\n\n[CIP-06]\nsays = 'Other'\n"
)
#: A lab that only knows whether it still stands, and vantage points that are heard.
LAB = """
from types import SimpleNamespace as Object

from servicelab.lab.plugin import OPEN_LABS
from servicelab.vantage import Replies, UdpReply, UdpRequest
from servicelab.vantage.hearing import let_hear


def asks(pod, times=1):
    reply = UdpReply(request=UdpRequest("10.96.0.7", 80), data=pod.encode())
    let_hear(Replies([reply] * times, "Pod lab-1/client"))


@pytest.fixture(scope="session")
def nodes(proxy_mode):
    asks("asked-by-the-session")


@pytest.fixture
def lab(request, nodes):
    asks("asked-by-a-fixture")
    cluster = Object(name="dev", nodes=[])
    lab = Object(namespace="lab-1", stands=True, cluster=cluster)
    request.node.stash.setdefault(OPEN_LABS, []).append(lab)
    yield lab
    lab.stands = False
"""
TESTS = """
from conftest import asks


@claim("CIP-04")
def test_fails(lab):
    asks("asked-by-the-test", 3)
    assert 1 == 2, "CIP-04 is <b>wrong</b>"

@claim("CIP-05")
def test_holds(lab):
    asks("web-5")
"""


@pytest.fixture
def lab(fake_lab, monkeypatch: pytest.MonkeyPatch):
    fake_lab.claims(CLAIMS)
    conftest = fake_lab.folder / "conftest.py"
    conftest.write_text(conftest.read_text() + LAB)
    fake_lab.pytester.makeini("[pytest]\npythonpath = labs/clusterip\n")

    def of_lab(lab: Any, redaction: Any) -> list[Piece]:
        return [Piece("objects", (lab.namespace, "objects.yaml"), lambda: f"stands: {lab.stands}")]

    monkeypatch.setattr(sources, "of_lab", of_lab)
    monkeypatch.setattr(sources, "of_cluster", lambda cluster, redaction: [])
    monkeypatch.setattr(names, "names_of", lambda lab: {"10.96.0.7": "Service web"})
    return fake_lab


def run_folder(root: Path = Path()) -> Path:
    return (root / ".servicelab" / "runs" / "latest").resolve()


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_folder() / "claims.json").read_text("utf-8"))
    return found


def test_a_failed_claim_leaves_evidence_and_the_run_a_report(lab) -> None:
    """What stood is saved while it stands; the report links to it; one line says where it is."""
    lab.tests(TESTS)
    result = lab.run()

    assert result.ret == 1
    folder = run_folder()
    result.stdout.fnmatch_lines([f"report: *{folder.name}/report.html"])
    result.stdout.fnmatch_lines(["*- evidence -*", "*/evidence/cip-04-iptables/index.html"])
    assert [path.name for path in (folder / "evidence").iterdir()] == ["cip-04-iptables"]
    evidence = folder / "evidence" / "cip-04-iptables"
    assert (evidence / "lab-1" / "objects.yaml").read_text() == "stands: True"
    fault = (evidence / "fault.txt").read_text()
    assert "CIP-04 (iptables): not proved" in fault
    assert "test_lab.py::test_fails[iptables]" in fault
    assert ">       assert 1 == 2" in fault
    page = (folder / "report.html").read_text()
    assert 'href="evidence/cip-04-iptables/index.html"' in page
    assert "CIP-04 is &lt;b&gt;wrong&lt;/b&gt;" in page
    assert "&lt;b&gt;wrong" in (evidence / "index.html").read_text()


def test_the_requests_are_those_of_the_test(lab) -> None:
    """What fixtures of the test asked is there too; what the session asked is not."""
    lab.tests(TESTS)
    lab.run()

    failed, held = results()["claims"]
    (flows,) = (test["traffic"] for test in failed["tests"])
    assert [(each["answered_by"], each["times"]) for each in flows] == [
        ("asked-by-a-fixture", 1),
        ("asked-by-the-test", 3),
    ]
    assert {each["to_name"] for each in flows} == {"Service web"}
    assert {each["asked_from"] for each in flows} == {"Pod client"}
    table = (run_folder() / failed["tests"][0]["evidence"] / "requests.txt").read_text()
    assert "asked-by-the-session" not in table
    assert table.count("asked-by-the-test") == 3
    # A claim that holds has its pictures in the report as well.
    assert [each["answered_by"] for each in held["tests"][0]["traffic"]][-1] == "web-5"
    assert held["tests"][0]["evidence"] == ""
    assert "web-5" in (run_folder() / "report.html").read_text()


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("none", []),
        ("failed", ["cip-04-iptables"]),
        ("all", ["cip-04-iptables", "cip-05-iptables"]),
    ],
)
def test_whose_evidence_is_kept_can_be_chosen(lab, wanted: str, kept: list[str]) -> None:
    """--evidence; the report is there in any case, and the folder can be chosen too."""
    lab.tests(TESTS)
    lab.run(f"--evidence={wanted}", "--report-dir=here")

    folder = Path("here", "latest").resolve()
    assert sorted(path.name for path in folder.glob("evidence/*")) == kept
    assert (folder / "report.html").exists()
    assert (folder / "claims.json").exists()
    assert not Path(".servicelab").exists()


def test_workers_write_into_one_run(lab) -> None:
    """Under xdist each worker saves its own, and the controller puts them together."""
    lab.tests(
        """
        @pytest.mark.parametrize("part", [1, 2, 3])
        @claim("CIP-04")
        def test_parts(proxy_mode, part): assert part == 0

        @claim("CIP-05")
        def test_fails(proxy_mode): assert 0
        """
    )
    result = lab.run("-n", "2")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["report: *report.html"])
    runs = [path for path in Path(".servicelab", "runs").iterdir() if not path.is_symlink()]
    assert len(runs) == 1
    left = {test["evidence"] for claim in results()["claims"] for test in claim["tests"]}
    on_disk = {f"evidence/{path.name}" for path in runs[0].glob("evidence/*")}
    assert left == on_disk
    assert len(on_disk) == 4
    page = (runs[0] / "report.html").read_text()
    assert all(f'href="{path}/index.html"' in page for path in left)


def test_a_broken_setup_leaves_evidence_too(lab) -> None:
    """A fixture that fails is a failure of the claim; its traceback is kept."""
    lab.tests(
        """
        @pytest.fixture
        def web(lab): raise ValueError("no web")

        @claim("CIP-04")
        def test_it(web): pass
        """
    )
    lab.run()

    evidence = run_folder() / "evidence" / "cip-04-iptables"
    assert "no web" in (evidence / "fault.txt").read_text()
    assert (evidence / "lab-1" / "objects.yaml").read_text() == "stands: True"


def test_a_verdict_that_differs_leaves_evidence(lab) -> None:
    """The test itself ran through, and yet somebody will want to look."""
    lab.claims("[CIP-04]\nsays = 'x'\nknown = [{ verdict = 'false' }]\n")
    lab.tests("@claim('CIP-04')\ndef test_it(lab, verdict): verdict.holds('it was so')")
    lab.run()

    fault = (run_folder() / "evidence" / "cip-04-iptables" / "fault.txt").read_text()
    assert "CIP-04 measured `holds`" in fault


def test_what_stops_servicelab_itself_is_told_once(lab) -> None:
    """Without a lab there is nothing to look at: no folder for each test that could not run."""
    lab.tests(
        """
        @pytest.fixture(scope="session")
        def cluster(): raise InfrastructureError("the engine does not answer")

        @claim("CIP-04")
        def test_it(proxy_mode, cluster): pass
        """
    )
    result = lab.run()

    assert result.ret == 3
    assert not (run_folder() / "evidence").exists()
    assert "the engine does not answer" in (run_folder() / "report.html").read_text()


def test_evidence_that_cannot_be_had_hides_nothing(lab, monkeypatch) -> None:
    """The failure is told as ever, and what is missing is said in the folder."""

    def broken(lab: Any, redaction: Any) -> list[Piece]:
        raise RuntimeError("the API server is gone")

    monkeypatch.setattr(sources, "of_lab", broken)
    lab.tests(TESTS)
    result = lab.run()

    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    index = json.loads(
        (run_folder() / "evidence" / "cip-04-iptables" / "evidence.json").read_text()
    )
    assert index["missing"] == [
        {"title": "namespace lab-1", "why": "RuntimeError: the API server is gone"}
    ]


def test_a_folder_that_cannot_be_written_is_told(lab) -> None:
    """A full disk: the claim's failure stands, and so does that its evidence could not be saved."""
    lab.tests(TESTS)
    Path("file").touch()
    result = lab.run("--report-dir=file")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["could not be saved: *", "*file/* can't be written: *"])
    assert "report: " not in result.stdout.str()


def test_tests_without_claims_leave_nothing(lab) -> None:
    """An ordinary run of pytest, where servicelab happens to be installed, has no report."""
    lab.tests("def test_it(): pass")
    result = lab.run()

    assert result.ret == 0
    assert not Path(".servicelab").exists()
    assert "report: " not in result.stdout.str()
