"""Claims by modes: each claim runs where it should, each mode is entered once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CLAIMS = """
    [CIP-01]
    says = "Everywhere"
    known = [{ verdict = "holds" }]
    [CIP-02]
    says = "Not in ipvs"
    modes = ["iptables", "nftables"]
    known = [{ verdict = "holds" }]
"""
TESTS = """
    def test_without_a_mode():
        pass

    @claim("CIP-01")
    def test_everywhere(proxy_mode):
        pass

    @claim("CIP-02")
    def test_not_in_ipvs(proxy_mode):
        pass
"""


def cells(file: str = "claims.json") -> dict[str, str]:
    content = json.loads(Path(file).read_text(encoding="utf-8"))
    return {f"{entry['id']} {entry['mode']}": entry["verdict"] for entry in content["claims"]}


def ran(result: pytest.RunResult) -> list[str]:
    lines = [line.split("::")[1].split(" ")[0] for line in result.outlines if "::test_" in line]
    return list(dict.fromkeys(lines))


@pytest.fixture
def lab(fake_lab):
    fake_lab.claims(CLAIMS)
    fake_lab.tests(TESTS)
    return fake_lab


def test_iptables_alone_is_the_default(lab) -> None:
    """Without an option each claim runs once, in iptables mode."""
    result = lab.run("-v")

    assert ran(result) == [
        "test_without_a_mode",
        "test_everywhere[iptables]",
        "test_not_in_ipvs[iptables]",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--proxy-mode", "all"],
        ["--proxy-mode", "ipvs,nftables", "--proxy-mode", "iptables"],
        ["--proxy-mode", "all", "--proxy-mode", "ipvs"],
    ],
)
def test_each_mode_is_entered_once_and_in_order(lab, arguments: list[str]) -> None:
    """Tests without a mode come first, then all of iptables, of nftables and of ipvs."""
    lab.tests(TESTS.replace("test_", "test_other_"), name="test_other.py")
    result = lab.run("-v", "-s", *arguments)
    modes = [line.split()[-1] for line in result.outlines if "entered " in line]

    # The fake fixture is run again for each test that it skips.
    assert list(dict.fromkeys(modes)) == ["iptables", "nftables", "ipvs"]
    assert modes.count("iptables") == modes.count("nftables") == 1
    assert [name.rpartition("[")[2] for name in ran(result)][2:] == [
        *["iptables]"] * 4,
        *["nftables]"] * 4,
        *["ipvs]"] * 2,
    ]


def test_a_claim_is_not_made_for_other_modes(lab) -> None:
    """A claim that is not for ipvs has no test there; one that is has its skip and reason."""
    lab.run("--proxy-mode", "all", "--claims-json", "claims.json").assert_outcomes(
        passed=5, skipped=1
    )

    assert cells() == {
        "CIP-01 iptables": "holds",
        "CIP-01 nftables": "holds",
        "CIP-01 ipvs": "skipped",
        "CIP-02 iptables": "holds",
        "CIP-02 nftables": "holds",
    }


def test_a_skip_shows_its_reason(lab) -> None:
    """A mode that the kernel lacks is named with its reason, never green."""
    lab.run("--proxy-mode", "ipvs").stdout.fnmatch_lines(
        ["claim * ipvs", "CIP-01 *skipped *", "skipped", "  CIP-01: this kernel has no ip_vs"]
    )


def test_a_test_can_be_for_one_mode_only(lab) -> None:
    """A marker's modes narrow the claim's."""
    lab.tests("@claim('CIP-01', modes=['nftables'])\ndef test_it(proxy_mode): pass")
    result = lab.run("-v", "--proxy-mode", "all")

    assert ran(result) == ["test_it[nftables]"]


def test_collecting_alone_starts_nothing(lab) -> None:
    """`--collect-only` lists the tests, enters no mode and prints no matrix."""
    result = lab.run("--collect-only", "-s", "--proxy-mode", "all", "--claims-json", "c.json")

    assert result.ret == 0
    result.stdout.no_fnmatch_line("*entered*")
    result.stdout.no_fnmatch_line("*claims*verdict*")
    result.stdout.no_fnmatch_line("claim *")
    assert not Path("c.json").exists()


def test_workers_share_the_work(lab) -> None:
    """Under xdist the matrix and the JSON are the same as without."""
    alone = lab.run("--proxy-mode", "all", "--claims-json", "alone.json")
    shared = lab.run("--proxy-mode", "all", "--claims-json", "shared.json", "-n", "2")

    def matrix(result: pytest.RunResult) -> list[str]:
        lines = result.outlines
        start = next(number for number, line in enumerate(lines) if line.startswith("claim "))
        end = next(number for number, line in enumerate(lines) if line.startswith("claims: "))
        return lines[start : end + 1]

    assert shared.ret == alone.ret == 0
    assert cells("shared.json") == cells("alone.json")
    assert len(cells("shared.json")) == 5
    assert matrix(shared) == matrix(alone)


def test_no_worker_enters_a_mode_too_early(lab) -> None:
    """Workers share the cluster: the first in line waits until all have left the mode before."""
    lab.tests(
        """
        from pathlib import Path
        from servicelab.verdict import wait_out

        @pytest.mark.parametrize("n", range(20))
        @claim("CIP-01")
        def test_it(proxy_mode, n):
            if (proxy_mode, n) == ("iptables", 0):
                wait_out(1, "to be the last one in this mode")
            with Path("log").open("a") as log:
                log.write(f"{proxy_mode}\\n")
        """
    )
    result = lab.run("-n", "2", "--proxy-mode", "iptables,nftables")

    result.assert_outcomes(passed=40)
    assert Path("log").read_text().split() == ["iptables"] * 20 + ["nftables"] * 20


def test_a_catalogue_s_claim_without_a_test_is_listed(lab) -> None:
    """A full run of a lab says what it has no test for, and what waits for another mode."""
    lab.claims(CLAIMS + "[CIP-03]\nsays = 'Endpoints'\n[CIP-04]\nsays = 'x'\nmodes = ['ipvs']")

    for full in (["labs"], ["labs/clusterip"], ["labs", "-n", "1"]):
        result = lab.run(*full)
        result.stdout.fnmatch_lines(["no test", "  CIP-03: Endpoints", "claims: *1 without a test"])
        result.stdout.fnmatch_lines(
            ["skipped", "  CIP-04: it is for the ipvs mode only: --proxy-mode ipvs"]
        )
    for part in (["labs/clusterip/test_lab.py"], ["-k", "everywhere"], ["labs", "-m", "not slow"]):
        result = lab.run(*part)
        result.stdout.no_fnmatch_line("*no test*")
        result.stdout.no_fnmatch_line("*CIP-04*")


def test_what_a_stopped_session_left_is_not_green(lab) -> None:
    """After `-x` the claims that were not reached are skipped, with that reason."""
    lab.tests(
        TESTS.replace(
            "def test_everywhere(proxy_mode):\n        pass",
            "def test_everywhere(proxy_mode):\n        assert 1 == 2",
        )
    )
    result = lab.run("-x", "--claims-json", "claims.json")

    assert result.ret == 1
    assert cells() == {"CIP-01 iptables": "not proved", "CIP-02 iptables": "skipped"}
    result.stdout.fnmatch_lines(["  CIP-02: not run: the session ended before"])


def test_last_failed_runs_what_failed(lab) -> None:
    """`--lf` after a failing claim selects that one alone."""
    lab.tests(
        TESTS.replace(
            "def test_everywhere(proxy_mode):\n        pass",
            "def test_everywhere(proxy_mode):\n        assert 1 == 2",
        )
    )
    lab.run()
    result = lab.run("--lf", "-v", "--claims-json", "claims.json")

    assert ran(result) == ["test_everywhere[iptables]"]
    assert cells() == {"CIP-01 iptables": "not proved"}


def test_slow_tests_can_be_left_out(lab) -> None:
    """Slow tests run by default; `--no-slow` skips them, and the matrix says why."""
    lab.tests("@pytest.mark.slow\n@claim('CIP-01')\ndef test_it(proxy_mode): pass")

    lab.run().assert_outcomes(passed=1)
    lab.run("--no-slow", "--run-slow").assert_outcomes(passed=1)
    result = lab.run("--no-slow", "-s")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["  CIP-01: slow: left out by --no-slow"])
    result.stdout.no_fnmatch_line("*entered*")


@pytest.mark.parametrize(
    ("test", "sentence"),
    [
        (
            "@claim('CIP-99')\ndef test_it(proxy_mode): pass",
            "*test_it proves CIP-99, which */claims.toml does not list; add*",
        ),
        (
            "@claim('CIP-01')\ndef test_it(): pass",
            "*test_it proves CIP-01 without asking a cluster; use the fixture*",
        ),
        (
            "@claim('CIP-01')\n@claim('CIP-02')\ndef test_it(proxy_mode): pass",
            "*test_it proves CIP-02 and CIP-01; write one test for each claim",
        ),
    ],
)
def test_a_test_that_proves_nothing_is_not_collected(lab, test: str, sentence: str) -> None:
    """A marker that leads nowhere is an error of the module, in one sentence."""
    lab.tests(test)
    result = lab.run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([sentence])


def test_a_lab_without_a_catalogue_is_measured_all_the_same(lab) -> None:
    """A claim of nobody's catalogue runs, and no verdict is known."""
    (lab.folder / "claims.toml").unlink()
    result = lab.run()

    assert result.ret == 0
    result.stdout.fnmatch_lines(["no verdict known yet*", "  CIP-01, CIP-02: measured `holds`"])


def test_a_claim_can_be_chosen_by_its_id(lab) -> None:
    """`-k CIP-02` runs that claim's tests, whatever they are called, and no other."""
    lab.tests(
        "@claim('CIP-01')\ndef test_1(proxy_mode): pass\n"
        "@claim('CIP-02')\ndef test_2(proxy_mode): pass"
    )
    result = lab.run("-k", "CIP-02")

    result.assert_outcomes(passed=1, deselected=1)
