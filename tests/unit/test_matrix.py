"""The matrix shows each claim's verdict in each mode, and below it what a cell leaves out."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from servicelab.report import matrix
from servicelab.report.results import ClaimTestResult, PlannedTest, RunResults, combine
from servicelab.verdict import Verdict
from servicelab.verdict.catalogue import MODES, Catalogue, Claim, Known
from servicelab.verdict.chart import Chart, point

ALL = tuple(MODES)
CATALOGUE = Catalogue(
    Path("labs/clusterip/claims.toml"),
    {
        claim.id: claim
        for claim in (
            Claim("CIP-01", "Two objects in one file", ALL, (Known(Verdict.HOLDS, ALL),)),
            Claim("CIP-09", "Round robin", ALL, (Known(Verdict.FALSE, ALL),)),
            Claim("CIP-10", "Not Ready, no traffic", ALL, ()),
            Claim(
                "CIP-07",
                "Inside only",
                ALL,
                (Known(Verdict.HOLDS_BUT, ALL, detail="no route from outside"),),
            ),
        )
    },
)


def result(
    claim: str,
    mode: str = "iptables",
    verdict: Verdict = Verdict.HOLDS,
    *,
    name: str = "test_it",
    **more: str,
) -> ClaimTestResult:
    return ClaimTestResult(f"test_lab.py::{name}[{mode}]", claim, mode, verdict, **more)  # type: ignore[arg-type]


def results(
    *done: ClaimTestResult,
    planned: tuple[PlannedTest, ...] = (),
    modes: tuple[str, ...] = ("iptables",),
    without_test: tuple[str, ...] = (),
) -> RunResults:
    unique = [
        ClaimTestResult(
            f"{test.claim}-{test.nodeid}",
            test.claim,
            test.mode,
            test.verdict,
            test.seen,
            test.message,
            test.differs,
            1.5,
        )
        for test in done
    ]
    return combine(
        planned,
        unique,
        [CATALOGUE],
        modes=modes,
        kubernetes_version="v1.37.0",
        without_test=without_test,
    )


def test_one_mode_leaves_room_for_the_claims_words() -> None:
    """Claims stand in the catalogue's order, with their words beside them."""
    text = matrix.plain(
        results(
            result("CIP-10"),
            result("CIP-09", verdict=Verdict.FALSE, seen="aabacb"),
            result("CIP-01"),
        )
    )

    assert text == dedent("""\
        claim   iptables
        CIP-01  holds          Two objects in one file
        CIP-09  false          Round robin
        CIP-10  holds          Not Ready, no traffic

        false
          CIP-09: aabacb

        no verdict known yet: add it to claims.toml
          CIP-10: measured `holds`

        claims: 2 holds, 1 false""")


def test_three_modes_stand_side_by_side() -> None:
    """A claim that is not for a mode has a dash there; notes name the modes they are about."""
    text = matrix.plain(
        results(
            result("CIP-01", "iptables"),
            result("CIP-07", "iptables", Verdict.HOLDS_BUT),
            result("CIP-07", "nftables", Verdict.HOLDS_BUT),
            result("CIP-07", "ipvs", Verdict.SKIPPED, message="no ip_vs"),
            modes=("iptables", "nftables", "ipvs"),
        )
    )

    assert text == dedent("""\
        claim   iptables       nftables       ipvs
        CIP-01  holds          -              -              Two objects in one file
        CIP-07  holds, but …   holds, but …   skipped        Inside only

        holds, but …
          CIP-07 (iptables, nftables): no route from outside

        skipped
          CIP-07 (ipvs): no ip_vs

        claims: 1 holds, 2 holds, but …, 1 skipped""")


def test_a_failure_is_told_in_one_line() -> None:
    """Of a long message its first line is shown, without saying again which claim it is."""
    message = "CIP-01 not proved (iptables): Service a/web should answer\n  waited     30.0 s"
    text = matrix.plain(results(result("CIP-01", verdict=Verdict.NOT_PROVED, message=message)))

    assert "CIP-01  NOT PROVED     Two" in text
    assert "not proved\n  CIP-01: Service a/web should answer\n" in text
    assert "waited" not in text


def test_a_difference_is_marked_and_told() -> None:
    """A verdict that differs from the known one is marked in its cell; below stand both."""
    run = results(result("CIP-09", verdict=Verdict.HOLDS, seen="abcabc"))
    text = matrix.plain(run)

    assert run.differ
    assert "CIP-09  holds ≠" in text
    assert (
        "≠ measured and known differ\n"
        "  CIP-09 measured `holds` in iptables mode on v1.37.0 (abcabc), known is `false`\n"
    ) in text
    assert "1 holds, 1 differ from what is known" in text


def test_many_claims_with_one_reason_are_counted() -> None:
    """The same reason for many claims is said once."""
    catalogue = Catalogue(
        Path("labs/x/claims.toml"), {f"CIP-{n}": Claim(f"CIP-{n}", "") for n in range(10, 30)}
    )
    done = [
        ClaimTestResult(f"test_{id_}", id_, "ipvs", Verdict.SKIPPED, message="no ip_vs")
        for id_ in catalogue.claims
    ]
    run = combine([], done, [catalogue], modes=("ipvs",), kubernetes_version="")

    assert "skipped\n  20 claims: no ip_vs\n" in matrix.plain(run)


def test_a_claim_without_a_test_is_listed() -> None:
    """What a full run did not try is said."""
    text = matrix.plain(results(result("CIP-01"), without_test=("CIP-10",)))

    assert "no test\n  CIP-10: Not Ready, no traffic\n" in text
    assert text.endswith("claims: 1 holds, 1 without a test")


def test_a_test_that_did_not_run_is_no_pass() -> None:
    """A planned test without a result is skipped, with the reason."""
    run = results(planned=(PlannedTest("test_lab.py::test_it[iptables]", "CIP-01", "iptables"),))

    assert run.claims[0].verdict is Verdict.SKIPPED
    assert "CIP-01: not run: the session ended before" in matrix.plain(run)


def test_several_tests_prove_one_claim() -> None:
    """A silent test beside one that says `false` makes `false`; its words are shown."""
    planned = tuple(
        PlannedTest(f"CIP-09-test_lab.py::{name}[iptables]", "CIP-09", "iptables", 2)
        for name in ("test_a", "test_b")
    )
    run = results(
        result("CIP-09", name="test_a"),
        result("CIP-09", verdict=Verdict.FALSE, seen="aab", name="test_b"),
        planned=planned,
    )

    (claim,) = run.claims
    assert (claim.verdict, claim.seen, claim.differs, claim.seconds) == (
        Verdict.FALSE,
        "aab",
        "",
        3.0,
    )


@pytest.mark.parametrize(("of", "differs"), [(2, False), (1, True)])
def test_a_part_does_not_speak_for_the_claim(of: int, differs: bool) -> None:
    """A silent test is held against the known verdict only if no other of the claim is left out."""
    nodeid = "CIP-09-test_lab.py::test_a[iptables]"
    run = results(
        result("CIP-09", name="test_a"),
        planned=(PlannedTest(nodeid, "CIP-09", "iptables", of),),
    )

    assert run.differ is differs


def test_figures_stand_below_the_verdicts() -> None:
    """What a test plotted is a table, under its claim and mode."""
    chart = Chart(
        "time to connect",
        "Services",
        "ms",
        {"last": [point(100, 0.2), point(5000, 0.81)], "first": [point(100, 0.2)]},
    )
    plotted = ClaimTestResult(
        "test_it", "CIP-01", "iptables", Verdict.HOLDS, charts=(chart.to_json(),)
    )
    found = combine([], [plotted], [CATALOGUE], modes=MODES, kubernetes_version="v1.37.0")

    assert dedent(
        """
            CIP-01 (iptables): time to connect, ms
              Services  last  first
                   100   0.2    0.2
                 5,000  0.81      -
            """
    ) in matrix.plain(found)


def test_nothing_is_wider_than_the_terminal() -> None:
    """Long words, sentences and lists are broken at 80 columns."""
    text = matrix.plain(
        results(
            *(
                result("CIP-01", mode, Verdict.NOT_PROVED, message="x" * 100 + " word" * 100)
                for mode in MODES
            ),
            *(result("CIP-09", mode, Verdict.HOLDS, seen="abc" * 60) for mode in MODES),
            modes=ALL,
            without_test=("CIP-10", "CIP-07"),
        )
    )

    assert max(len(line) for line in text.splitlines()) <= 80


def test_no_claim_is_no_matrix() -> None:
    """An empty run still says so."""
    assert matrix.plain(results()).endswith("claims: none")
