"""An infrastructure failure is no verdict: one sentence, said once, and its own exit status."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

CLAIMS = "".join(f"[CIP-0{n}]\nsays = 'Claim {n}'\n" for n in range(1, 6))
TESTS = "".join(
    f"@claim('CIP-0{n}')\ndef test_{n}(proxy_mode, cluster): pass\n" for n in range(1, 6)
)
BROKEN = """
@pytest.fixture(scope="session")
def cluster():
    raise {error}
"""
ENGINE = "InfrastructureError('the engine does not answer', remedy='start it')"


@pytest.fixture
def lab(fake_lab):
    fake_lab.claims(CLAIMS)
    return fake_lab


@pytest.mark.parametrize("xdist", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_one_sentence_instead_of_many_tracebacks(lab, xdist: tuple[str, ...]) -> None:
    """The sentence stands once, the exit status is 3, and no claim is judged."""
    lab.tests(BROKEN.format(error=ENGINE) + TESTS)
    result = lab.run("--claims-json", "claims.json", *xdist)

    assert result.ret == 3
    output = result.stdout.str()
    assert output.count("\nthe engine does not answer; start it\n") == 1
    assert "Traceback" not in output
    assert "ERRORS" not in output
    result.stdout.fnmatch_lines(
        ["*= infrastructure =*", "5 tests could not run for it, first *::test_?[[]iptables]"]
    )
    content = json.loads(Path("claims.json").read_text(encoding="utf-8"))
    assert {entry["verdict"] for entry in content["claims"]} == {"skipped"}
    assert content["claims"][0]["message"] == "not run: the engine does not answer; start it"
    assert content["run"]["exit_status"] == 3
    assert content["run"]["infrastructure"] == ["the engine does not answer; start it"]


def test_the_traceback_can_be_had(lab) -> None:
    """With --full-trace such an error is shown like any other."""
    lab.tests(BROKEN.format(error=ENGINE) + TESTS)

    lab.run("--full-trace").stdout.fnmatch_lines(["*= ERRORS =*", "E *InfrastructureError*"])


def test_an_ordinary_test_just_fails(lab) -> None:
    """A test that proves no claim has its traceback: there the error is what is being tested."""
    lab.tests(f"def test_it():\n    raise {ENGINE}")
    result = lab.run()

    assert result.ret == 1
    result.stdout.fnmatch_lines([">   *raise InfrastructureError*", "FAILED *"])


def test_a_usage_error_of_a_fixture_is_the_users(lab) -> None:
    """A broken kind configuration, found late, has the exit status of a usage error."""
    lab.tests(BROKEN.format(error="UsageError('kind.yaml line 3 is not YAML')") + TESTS)
    result = lab.run()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*= usage =*", "kind.yaml line 3 is not YAML"])


def test_a_claim_that_fails_weighs_more(lab) -> None:
    """If a claim's test failed as well, the exit status is 1; both are told."""
    lab.tests(
        f"""
@claim("CIP-01")
def test_1(proxy_mode):
    assert proxy_mode == "x"

@claim("CIP-02")
def test_2(proxy_mode):
    raise {ENGINE}
"""
    )
    result = lab.run()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["CIP-01  NOT PROVED*", "the engine does not answer; start it"])


def test_junit_has_the_sentence(lab) -> None:
    """The XML of such a test holds the sentence and no traceback."""
    lab.tests(BROKEN.format(error=ENGINE) + TESTS)
    lab.run("--junitxml", "junit.xml")

    xml = Path("junit.xml").read_text(encoding="utf-8")
    assert "infrastructure: the engine does not answer; start it" in xml
    assert "Traceback" not in xml


def test_a_json_that_cannot_be_written_is_told(lab) -> None:
    """A full disk or a wrong path is infrastructure, not a traceback."""
    lab.tests("@claim('CIP-01')\ndef test_1(proxy_mode): pass")
    Path("file").touch()
    result = lab.run("--claims-json", "file/claims.json")

    assert result.ret == 3
    result.stdout.fnmatch_lines(["CIP-01  holds*", "*/file/claims.json can't be written: *"])


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Takes down each call of the end of a session, in the place of deleting a cluster."""
    import sys

    calls: list[str] = []
    module = ModuleType("servicelab.fixtures")
    module.end_session = lambda config: calls.append(config.option.cluster_name)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "servicelab.fixtures", module)
    return calls


USES = "@pytest.fixture\ndef kind_cluster(): pass\n\ndef test_it(kind_cluster): {body}"


@pytest.mark.parametrize("body", ["pass", "assert 0", "pytest.exit('stop')"])
def test_the_end_of_a_session_is_called_once(lab, ended: list[str], body: str) -> None:
    """However the session ended, the cluster's end comes once."""
    lab.tests(USES.format(body=body))
    lab.run()

    assert ended == ["servicelab"]


def test_under_xdist_the_controller_ends_the_session(lab, ended: list[str]) -> None:
    """Workers share the cluster, so none of them ends it."""
    lab.tests(USES.format(body="pass"))
    lab.run("-n", "2").assert_outcomes(passed=1)

    assert ended == ["servicelab"]


@pytest.mark.parametrize("arguments", [["--collect-only"], ["-k", "nothing"]])
def test_a_session_without_a_cluster_ends_none(lab, ended: list[str], arguments: list[str]) -> None:
    """Collecting alone, or tests that need no cluster, delete nothing."""
    lab.tests(USES.format(body="pass") + "\n\ndef test_nothing(): pass")
    lab.run(*arguments)

    assert ended == []


def test_a_cluster_that_cannot_be_deleted_is_told(
    lab, ended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the end fails the claims stay, and the exit status says infrastructure."""
    import sys

    from servicelab.errors import InfrastructureError

    def fail(config: pytest.Config) -> None:
        raise InfrastructureError("the cluster can't be deleted", remedy="try again")

    monkeypatch.setattr(sys.modules["servicelab.fixtures"], "end_session", fail)
    lab.tests(USES.format(body="pass"))
    result = lab.run()

    assert result.ret == 3
    result.stdout.fnmatch_lines(["*= infrastructure =*", "the cluster can't be deleted; try again"])
