"""A claim's verdict is what its test measured; where something else is known, the test fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

CLAIMS = """
    [CIP-09]
    says = "Round robin"
    known = [
      { modes = ["iptables", "nftables"], kubernetes = ">=1.30", verdict = "false" },
      { modes = ["ipvs"], verdict = "holds" },
    ]
"""


def entry(file: str = "claims.json") -> dict[str, Any]:
    (claim,) = json.loads(Path(file).read_text(encoding="utf-8"))["claims"]
    return claim


@pytest.fixture
def lab(fake_lab):
    fake_lab.claims(CLAIMS)
    return fake_lab


@pytest.mark.parametrize("xdist", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_the_known_verdict_passes(lab, xdist: tuple[str, ...]) -> None:
    """A test that measures what is known passes, and what it saw is told."""
    lab.tests("@claim('CIP-09')\ndef test_it(proxy_mode, verdict): verdict.false('aabacb')")
    result = lab.run("--claims-json", "claims.json", *xdist)

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*claims on Kubernetes v1.37.0*", "CIP-09  false *"])
    assert (entry()["verdict"], entry()["seen"], entry()["differs"]) == ("false", "aabacb", "")


@pytest.mark.parametrize("xdist", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_figures_are_kept_also_of_a_test_that_fails(lab, xdist: tuple[str, ...]) -> None:
    """What was plotted stands in the terminal and in the JSON, whatever the verdict."""
    lab.tests("""
        from servicelab.verdict.chart import Chart, point
        @claim("CIP-09")
        def test_it(proxy_mode, verdict):
            verdict.plot(Chart("time", "Services", "ms", {"last": [point(100, 1.5)]}))
            assert False, "too slow"
    """)
    result = lab.run("--claims-json", "claims.json", *xdist)

    result.stdout.fnmatch_lines(["CIP-09: time, ms", "  Services  last", "       100   1.5"])
    (chart,) = entry()["tests"][0]["charts"]
    assert chart["lines"] == [{"name": "last", "points": [[100, 1.5, 1.5, 1.5]]}]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("pass", "CIP-09 measured `holds` in iptables mode on v1.37.0, known is `false` for*"),
        ("verdict.changed('since 1.36: x')", "CIP-09 measured `changed` in* (since 1.36: x), *"),
    ],
)
@pytest.mark.parametrize("xdist", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_another_verdict_fails(lab, body: str, said: str, xdist: tuple[str, ...]) -> None:
    """A test that measures something else fails with both verdicts, shown as measured."""
    lab.tests(f"@claim('CIP-09')\ndef test_it(proxy_mode, verdict): {body}")
    result = lab.run("--claims-json", "claims.json", *xdist)

    assert result.ret == 1
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([said, "CIP-09  * ≠*", "≠ measured and known differ"])
    assert entry()["verdict"] in ("holds", "changed")
    assert entry()["differs"].startswith("CIP-09 measured")


def test_each_parameter_set_is_judged(lab) -> None:
    """A parametrized test is one test: each of its runs is held against what is known."""
    lab.tests(
        """
        @pytest.mark.parametrize("n", [1, 2])
        @claim("CIP-09")
        def test_it(proxy_mode, verdict, n):
            if n == 2:
                verdict.false("aab")
        """
    )

    lab.run().assert_outcomes(passed=1, failed=1)


TWO = """
    @claim("CIP-09")
    def test_part(proxy_mode):
        pass

    @claim("CIP-09")
    def test_whole(proxy_mode, verdict):
        {body}
"""


@pytest.mark.parametrize("xdist", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_silent_part_waits_for_the_whole(lab, xdist: tuple[str, ...]) -> None:
    """One of several tests may prove a part without a word, if another one says the verdict."""
    lab.tests(TWO.format(body="verdict.false('aab')"))
    result = lab.run("--claims-json", "claims.json", *xdist)

    assert result.ret == 0
    assert entry()["verdict"] == "false"
    assert len(entry()["tests"]) == 2


@pytest.mark.parametrize("xdist", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_silent_parts_alone_differ_in_the_end(lab, xdist: tuple[str, ...]) -> None:
    """If none of several tests says the known verdict, the session fails, and says why."""
    lab.tests(TWO.format(body="pass"))
    result = lab.run(*xdist)

    assert result.ret == 1
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["CIP-09  holds ≠*", "  CIP-09 measured `holds`*"])
    assert lab.run("-k", "part").ret == 0


def test_a_failing_part_leaves_the_claim_open(lab) -> None:
    """All tests of a claim must pass: one that fails makes it not proved."""
    lab.tests(TWO.format(body="assert proxy_mode == 'x', 'not as it should'"))
    result = lab.run("--claims-json", "claims.json")

    assert result.ret == 1
    assert (entry()["verdict"], entry()["message"].partition("\n")[0]) == (
        "not proved",
        "not as it should",
    )


def test_a_new_version_is_told_and_passes(lab) -> None:
    """Where no verdict is known the test passes, and the matrix asks to add it."""
    lab.claims(CLAIMS.replace(">=1.30", ">=1.38"))
    lab.tests("@claim('CIP-09')\ndef test_it(proxy_mode, verdict): verdict.holds('abcabc')")
    result = lab.run("--claims-json", "claims.json")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["no verdict known yet: add it*", "  CIP-09: measured `holds`"])
    assert entry()["known"] is None


def test_two_verdicts_prove_nothing(lab) -> None:
    """A test that contradicts itself fails as not proved."""
    lab.tests(
        """
        @claim("CIP-09")
        def test_it(proxy_mode, verdict):
            verdict.false("aab")
            verdict.holds("abcabc")
        """
    )
    result = lab.run("--claims-json", "claims.json")

    assert result.ret == 1
    assert entry()["verdict"] == "not proved"
    assert "can't come to two verdicts" in entry()["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("pytest.skip('not here')", "not here"),
        ("pytest.importorskip('no_such_module')", "could not import 'no_such_module'"),
    ],
)
def test_a_skip_in_the_test_has_its_reason(lab, body: str, message: str) -> None:
    """A skip is never silent."""
    lab.tests(f"@claim('CIP-09')\ndef test_it(proxy_mode): {body}")
    lab.run("--claims-json", "claims.json").assert_outcomes(skipped=1)

    assert entry()["verdict"] == "skipped"
    assert message in entry()["message"]


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("def test_it(proxy_mode): assert [1] == [2]", "assert [1] == [2]"),
        ("def test_it(proxy_mode): assert 0, 'why'", "why"),
        ("def test_it(proxy_mode): {}['x']", "KeyError: 'x'"),
        ("def test_it(proxy_mode): pytest.fail('said so')", "said so"),
        ("def test_it(proxy_mode, no_such_fixture): pass", "FixtureLookupError"),
        (
            "@pytest.mark.xfail(reason='known')\ndef test_it(proxy_mode): assert 0, 'why'",
            "why",
        ),
    ],
)
def test_a_failure_is_not_proved(lab, test: str, message: str) -> None:
    """Whatever goes wrong, in the test or in a fixture, leaves the claim not proved."""
    lab.tests(
        test.replace("def test_it", "@claim('CIP-09')\ndef test_it")
        if test.startswith("def")
        else f"@claim('CIP-09')\n{test}"
    )
    lab.run("--claims-json", "claims.json")

    assert entry()["verdict"] == "not proved"
    assert message in entry()["message"]


def test_a_wait_in_vain_names_its_claim(lab) -> None:
    """The message of a wait starts with the claim and the mode; the matrix shows its first line."""
    lab.tests(
        """
        from servicelab import eventually
        from servicelab.verdict import Deadline

        @claim("CIP-09")
        def test_it(proxy_mode):
            eventually(
                lambda: "timed out", lambda it: False,
                deadline=Deadline("service_reachable", 0.01),
                expecting="Service a/web should answer",
            )
        """
    )
    result = lab.run("--claims-json", "claims.json")

    result.stdout.fnmatch_lines(
        [
            "E * servicelab.NotProved: CIP-09 not proved (iptables): Service a/web should answer",
            "E * last saw   timed out *",
            "not proved",
            "  CIP-09: Service a/web should answer",
        ]
    )
    assert entry()["message"].startswith("CIP-09 not proved (iptables): Service a/web")


def test_a_clean_up_that_fails_does_not_change_the_verdict(lab) -> None:
    """What was measured stays measured; the session fails for the fixture."""
    lab.tests(
        """
        @pytest.fixture
        def namespace():
            yield
            raise ValueError("namespace is stuck")

        @claim("CIP-09")
        def test_it(proxy_mode, verdict, namespace):
            verdict.false("aab")
        """
    )
    result = lab.run("--claims-json", "claims.json")

    assert result.ret == 1
    assert entry()["verdict"] == "false"


def test_junit_has_the_verdict(lab) -> None:
    """Each test case carries claim, mode, verdict, observation and version as properties."""
    lab.tests("@claim('CIP-09')\ndef test_it(proxy_mode, verdict): verdict.false('aabacb')")
    lab.run("--junitxml", "junit.xml")
    properties = {
        element.attrib["name"]: element.attrib["value"]
        for element in ElementTree.parse("junit.xml").iter("property")
    }

    assert properties == {
        "claim": "CIP-09",
        "proxy_mode": "iptables",
        "verdict": "false",
        "seen": "aabacb",
        "kubernetes": "v1.37.0",
    }


REFUTERS = """
    from servicelab.verdict.refuter import Refuter

    REFUTERS = {"CIP-09": Refuter("CIP-09", lambda: "broken", expects="broken", why="it is so")}
"""


def test_a_refuter_reaches_its_test(lab) -> None:
    """With --refute a claim's test gets its fault, fails, and the JSON says what was expected."""
    lab.write("refuters.py", REFUTERS)
    lab.tests(
        """
        from servicelab.verdict.refuter import refuter_for

        @claim("CIP-09")
        def test_it(request, proxy_mode, verdict):
            refuter = refuter_for(request.node)
            assert not refuter, refuter.fault()
            verdict.false("aab")
        """
    )
    refuted = lab.run("--refute", "labs/clusterip/refuters.py", "--claims-json", "claims.json")

    assert refuted.ret == 1
    assert (entry()["verdict"], entry()["message"].partition("\n")[0]) == ("not proved", "broken")
    assert entry()["refuter"] == {"expects": "broken", "why": "it is so"}
    assert lab.run("--claims-json", "claims.json").ret == 0
    assert "refuter" not in entry()


def test_a_claim_without_a_refuter_is_named(lab) -> None:
    """It is skipped, because nothing shows that its test can fail; the JSON has null."""
    lab.write("refuters.py", "REFUTERS = {}")
    lab.tests("@claim('CIP-09')\ndef test_it(proxy_mode, verdict): verdict.false('aab')")
    result = lab.run("--refute", "labs/clusterip/refuters.py", "--claims-json", "claims.json")

    result.stdout.fnmatch_lines(["  CIP-09: no refuter: nothing shows that this test can fail"])
    assert (entry()["verdict"], entry()["refuter"]) == ("skipped", None)


@pytest.mark.parametrize(
    "content",
    ["", "REFUTERS = []", "REFUTERS = {'CIP-09': 1}", REFUTERS.replace('{"CIP-09"', '{"CIP-01"')],
)
def test_a_module_without_refuters_is_a_usage_error(lab, content: str) -> None:
    """A dictionary that is missing or wrong is told before anything runs."""
    lab.write("refuters.py", content)
    lab.tests("@claim('CIP-09')\ndef test_it(proxy_mode): pass")
    result = lab.run("--refute", "labs/clusterip/refuters.py")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *REFUTERS*; *"])
