"""Results of a run: of each test, and of each claim in each proxy mode."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servicelab.verdict.catalogue import Catalogue, Claim, Known
from servicelab.verdict.chart import Chart
from servicelab.verdict.measurement import difference, unknown
from servicelab.verdict.outcome import Verdict, combined


@dataclass(frozen=True, slots=True)
class PlannedTest:
    """A test that was selected to run.

    Attributes:
        nodeid: pytest's name for it.
        claim: the claim it proves.
        mode: the proxy mode it runs in.
        of: how many tests its claim has in this mode, selected or not.
    """

    nodeid: str
    claim: str
    mode: str
    of: int = 1


@dataclass(frozen=True, slots=True)
class ClaimTestResult:
    """What one test found out.

    Attributes:
        nodeid: pytest's name for it.
        claim: the claim it proves.
        mode: the proxy mode it ran in.
        verdict: its verdict.
        seen: what it saw, in its own words.
        message: why it failed, or why it was skipped; may have several lines.
        differs: how its verdict differs from the known one; "" if it does not.
        seconds: how long the test took, in seconds.
        setup_seconds: how long its fixtures took.
        evidence: the folder of what it left, below the run's; "" if nothing was saved.
        traffic: what the vantage points asked and who answered, as claims.json holds it.
        charts: the figures that it plotted, likewise.
    """

    nodeid: str
    claim: str
    mode: str
    verdict: Verdict
    seen: str = ""
    message: str = ""
    differs: str = ""
    seconds: float = 0
    setup_seconds: float = 0
    evidence: str = ""
    traffic: Sequence[Mapping[str, Any]] = ()
    charts: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """What all tests of one claim found out in one proxy mode.

    Attributes:
        claim: the claim.
        lab: the lab it belongs to; "" if there is no catalogue.
        mode: the proxy mode.
        verdict: as `combined` says.
        known: the verdict that is known for this mode and version, or None.
        differs: how the verdict differs from the known one; "" if it does not.
        unknown: a sentence if no verdict is known; else "".
        tests: of each test.
    """

    claim: Claim
    lab: str
    mode: str
    verdict: Verdict
    known: Known | None
    differs: str
    unknown: str
    tests: Sequence[ClaimTestResult]

    @property
    def seen(self) -> str:
        """What was seen, by those tests that have this verdict."""
        return "; ".join(test.seen for test in self._deciding if test.seen)

    @property
    def message(self) -> str:
        """Why it is not proved, or was skipped."""
        return "\n".join(dict.fromkeys(test.message for test in self._deciding if test.message))

    @property
    def charts(self) -> list[Chart]:
        """The figures that its tests plotted."""
        return [Chart.from_json(chart) for test in self.tests for chart in test.charts]

    @property
    def seconds(self) -> float:
        """Time of all its tests, without their fixtures, in seconds."""
        return sum(test.seconds for test in self.tests)

    @property
    def _deciding(self) -> list[ClaimTestResult]:
        return [test for test in self.tests if test.verdict is self.verdict]


@dataclass(frozen=True, slots=True)
class RunResults:
    """The whole run, in the catalogues' order.

    Attributes:
        claims: each claim in each mode in which it was selected.
        modes: the proxy modes of the run.
        without_test: claims of a lab that was run in full, for which there is no test.
    """

    claims: Sequence[ClaimResult]
    modes: Sequence[str]
    without_test: Sequence[Claim] = ()

    @property
    def differ(self) -> bool:
        """Does any claim's verdict differ from the known one?"""
        return any(result.differs for result in self.claims)


def combine(
    planned: Iterable[PlannedTest],
    done: Iterable[ClaimTestResult],
    catalogues: Sequence[Catalogue],
    *,
    modes: Sequence[str],
    kubernetes_version: str,
    without_test: Iterable[str] = (),
    for_other_modes: Iterable[str] = (),
    not_run: str = "not run: the session ended before",
) -> RunResults:
    """Put the results of all tests together, claim by claim.

    Args:
        planned: tests that were selected; those without a result count as skipped.
        done: tests that have one.
        catalogues: of the labs.
        modes: the proxy modes of the run.
        kubernetes_version: of the cluster.
        without_test: ids of claims for which no test was found.
        for_other_modes: ids of claims that are for none of the run's modes.
        not_run: why planned tests have no result.
    """
    finished = {test.nodeid: test for test in done}
    needed: dict[tuple[str, str], int] = {}
    for plan in planned:
        needed[plan.claim, plan.mode] = plan.of
        finished.setdefault(
            plan.nodeid,
            ClaimTestResult(plan.nodeid, plan.claim, plan.mode, Verdict.SKIPPED, message=not_run),
        )
    tests: dict[tuple[str, str], list[ClaimTestResult]] = defaultdict(list)
    for test in sorted(finished.values(), key=lambda test: test.nodeid):
        tests[test.claim, test.mode].append(test)
    known = {id_: (lab, claim) for lab in catalogues for id_, claim in lab.claims.items()}
    results = [
        _claim_result(
            known[id_][1] if id_ in known else Claim(id_, ""),
            known[id_][0].lab if id_ in known else "",
            mode,
            of_claim,
            kubernetes_version,
            complete=len({_function(test) for test in of_claim}) >= needed.get((id_, mode), 1),
        )
        for (id_, mode), of_claim in tests.items()
    ]
    results += [_waiting(*known[id_]) for id_ in for_other_modes if id_ in known]
    ids = [*known, *sorted({result.claim.id for result in results} - set(known))]
    results.sort(key=lambda result: (ids.index(result.claim.id), _mode_rank(modes, result.mode)))
    missing = [known[id_][1] for id_ in ids if id_ in set(without_test)]
    return RunResults(results, tuple(modes), missing)


def _claim_result(
    claim: Claim,
    lab: str,
    mode: str,
    tests: Sequence[ClaimTestResult],
    kubernetes_version: str,
    *,
    complete: bool,
) -> ClaimResult:
    verdict = combined(test.verdict for test in tests)
    seen = "; ".join(test.seen for test in tests if test.seen and test.verdict is verdict)
    said = [test.differs for test in tests if test.differs]
    # A part of a claim's tests (-k) can't speak for all of it, only for itself.
    differs = (
        difference(claim, verdict, seen, mode=mode, kubernetes_version=kubernetes_version)
        if complete
        else ""
    )
    return ClaimResult(
        claim=claim,
        lab=lab,
        mode=mode,
        verdict=verdict,
        known=claim.known_for(mode, kubernetes_version),
        differs=differs or "; ".join(said),
        unknown=(
            unknown(claim, mode=mode, kubernetes_version=kubernetes_version)
            if verdict.is_measured
            else ""
        ),
        tests=tests,
    )


def _waiting(catalogue: Catalogue, claim: Claim) -> ClaimResult:
    """A claim that the run can't try: skipped, with the reason."""
    modes = " and ".join(claim.modes)
    reason = f"it is for the {modes} mode only: --proxy-mode {','.join(claim.modes)}"
    mode = claim.modes[0]
    test = ClaimTestResult("", claim.id, mode, Verdict.SKIPPED, message=reason)
    return ClaimResult(claim, catalogue.lab, mode, Verdict.SKIPPED, None, "", "", [test])


def _function(test: ClaimTestResult) -> str:
    return test.nodeid.partition("[")[0]


def _mode_rank(modes: Sequence[str], mode: str) -> int:
    return modes.index(mode) if mode in modes else len(modes)
