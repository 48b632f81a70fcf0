"""A run's results, as its page shows them: read from what claims.json holds, and cut to fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from servicelab.report.page.charts import Drawing, drawings
from servicelab.report.page.left_behind import LeftBehind
from servicelab.report.page.pictures import Answer, Picture, pictures
from servicelab.report.page.told import Told, told
from servicelab.report.safe_text import file_name, one_line, printable, within
from servicelab.verdict.outcome import Verdict

#: The class of the style sheet that a verdict has; its word stands beside it always.
_STYLES = {
    Verdict.HOLDS: "holds",
    Verdict.HOLDS_BUT: "but",
    Verdict.CHANGED: "changed",
    Verdict.FALSE: "false",
    Verdict.NOT_PROVED: "failed",
    Verdict.SKIPPED: "skipped",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each claim the page shows.

    Attributes:
        message: characters of a failure's message.
        seen: characters of what was seen.
        pictures: of where packets went, and drawings of figures.
        names: answers about names.
        files: links to files of evidence.
    """

    message: int
    seen: int
    pictures: int
    names: int
    files: int


FULL = Limits(message=6000, seen=2000, pictures=4, names=8, files=16)


@dataclass(frozen=True, slots=True)
class Link:
    """A link to a file of evidence."""

    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A claim in one mode.

    Attributes:
        mode: the proxy mode.
        anchor: of its part of the page.
        verdict: in words.
        style: its class.
        differs: how it differs from what is known; "" if it does not.
        known: the known verdict, if it differs or is not simply that it holds.
        seen: what was measured.
        message: why it is not proved or was skipped, in parts; None if there is nothing to say.
        seconds, setup_seconds: how long its tests took, and their fixtures.
        tests: how many.
        refuter: what the refuter expects and why, in a run that refutes.
        drawings: the figures that were measured.
        pictures, more_pictures: where packets went, and how many pictures are left out.
        answers, more_answers: what was said about names, likewise.
        evidence: links to what the tests left; the first of each test is its page.
        saved_in: how long saving it took, in seconds.
        needs_a_look: it differs or is not proved; in a run that refutes, it did not fail as it
            should have.
    """

    mode: str
    anchor: str
    verdict: str
    style: str
    differs: str
    known: str
    seen: str
    message: Told | None
    seconds: float
    setup_seconds: float
    tests: int
    refuter: tuple[str, str] | None
    drawings: Sequence[Drawing]
    pictures: Sequence[Picture]
    more_pictures: int
    answers: Sequence[Answer]
    more_answers: int
    evidence: Sequence[Link]
    saved_in: float
    needs_a_look: bool


@dataclass(frozen=True, slots=True)
class ClaimView:
    """A claim in each mode."""

    id: str
    anchor: str
    says: str
    by_mode: Mapping[str, Outcome]


@dataclass(frozen=True, slots=True)
class LabView:
    """A lab's claims."""

    name: str
    claims: Sequence[ClaimView]


@dataclass(frozen=True, slots=True)
class RunView:
    """The whole page.

    Attributes:
        headline: how the run ended, in a few words.
        good: is all as known?
        facts: about the run, name and value.
        tally: how many claims have each verdict: count, word, class.
        modes: the columns of the matrix.
        labs: the rows.
        to_look_at: what differs or is not proved: its claim's id, its outcomes, a sentence.
        without_test: claims without a test.
        infrastructure: sentences on what stopped servicelab itself.
        refuting: the module of refuters; "" in an ordinary run.
        results: the link to claims.json.
    """

    headline: str
    good: bool
    facts: Sequence[tuple[str, str]]
    tally: Sequence[tuple[int, str, str]]
    modes: Sequence[str]
    labs: Sequence[LabView]
    to_look_at: Sequence[tuple[str, Sequence[Outcome], str]]
    without_test: Sequence[str]
    infrastructure: Sequence[str]
    refuting: str
    results: str


def run_view(
    content: Mapping[str, Any],
    evidence: Mapping[str, LeftBehind],
    *,
    base: str = "",
    limits: Limits = FULL,
) -> RunView:
    """What the page shows of a run.

    Args:
        content: the results, as claims.json holds them.
        evidence: what tests left, by the path that the results name.
        base: what leads from the page to the run's folder, as a URL.
        limits: how much of each claim.
    """
    run = content.get("run", {})
    claims = content.get("claims", [])
    modes = [str(mode) for mode in run.get("modes", ())]
    labs = [
        LabView(lab, [_claim(id_, list(of), evidence, base, limits) for id_, of in _by_id(members)])
        for lab, members in groupby(claims, key=lambda claim: str(claim.get("lab", "")))
    ]
    outcomes = [
        (claim.id, outcome)
        for lab in labs
        for claim in lab.claims
        for outcome in claim.by_mode.values()
    ]
    to_look_at: dict[tuple[str, str], list[Outcome]] = {}
    for id_, outcome in outcomes:
        if outcome.needs_a_look:
            to_look_at.setdefault((id_, _sentence(id_, outcome)), []).append(outcome)
    infrastructure = [printable(str(each)) for each in run.get("infrastructure", ())]
    counts = Counter(str(claim.get("verdict")) for claim in claims)
    return RunView(
        headline=_headline(labs, infrastructure, bool(run.get("refuting"))),
        good=not to_look_at and not infrastructure,
        facts=_facts(run, content),
        tally=[
            (counts[verdict], str(verdict), _STYLES[verdict])
            for verdict in Verdict
            if counts[verdict]
        ],
        modes=modes,
        labs=labs,
        to_look_at=[(id_, of, sentence) for (id_, sentence), of in to_look_at.items()],
        without_test=[str(each) for each in content.get("without_test", ())],
        infrastructure=infrastructure,
        refuting=str(run.get("refuting") or ""),
        results=f"{base}claims.json",
    )


def _by_id(claims: Any) -> Any:
    return groupby(claims, key=lambda claim: str(claim.get("id", "")))


def _claim(
    id_: str,
    of_claim: Sequence[Mapping[str, Any]],
    evidence: Mapping[str, LeftBehind],
    base: str,
    limits: Limits,
) -> ClaimView:
    outcomes = [_outcome(each, evidence, base, limits) for each in of_claim]
    return ClaimView(
        id=id_,
        anchor=file_name(id_),
        says=one_line(str(of_claim[0].get("says", "")), limits.seen),
        by_mode={outcome.mode: outcome for outcome in outcomes},
    )


def _outcome(
    claim: Mapping[str, Any], evidence: Mapping[str, LeftBehind], base: str, limits: Limits
) -> Outcome:
    tests = claim.get("tests", [])
    traffic = [flow for test in tests for flow in test.get("traffic") or ()]
    charts = [chart for test in tests for chart in test.get("charts") or ()]
    drawn, said = pictures(traffic if limits.pictures else ())
    left = {
        path: evidence[path]
        for test in tests
        if (path := str(test.get("evidence") or "")) in evidence
    }
    verdict = str(claim.get("verdict", ""))
    differs = one_line(str(claim.get("differs", "")), limits.seen)
    message = str(claim.get("message", ""))
    refuter = claim.get("refuter")
    refuted = (
        refuter is not None and verdict == Verdict.NOT_PROVED and str(refuter["expects"]) in message
    )
    mode = str(claim.get("mode", ""))
    return Outcome(
        mode=mode,
        anchor=file_name(f"{claim.get('id')}-{mode}"),
        verdict=verdict,
        style=_STYLES[Verdict(verdict)] if verdict in set(Verdict) else "skipped",
        differs=differs,
        known=_known(claim.get("known"), verdict, differs),
        seen=one_line(str(claim.get("seen", "")), limits.seen),
        message=told(printable(within(message, limits.message)[0])) if message.strip() else None,
        seconds=float(claim.get("seconds", 0)),
        setup_seconds=sum(float(test.get("setup_seconds", 0)) for test in tests),
        tests=len(tests),
        refuter=(str(refuter["expects"]), str(refuter["why"])) if refuter else None,
        drawings=drawings(charts)[: limits.pictures],
        pictures=drawn[: limits.pictures],
        more_pictures=max(0, len(drawn) - limits.pictures),
        answers=said[: limits.names],
        more_answers=max(0, len(said) - limits.names),
        evidence=[link for path in left for link in _links(f"{base}{path}", left[path], limits)],
        saved_in=sum(each.seconds for each in left.values()),
        needs_a_look=not refuted
        and ("refuter" in claim or bool(differs) or verdict == Verdict.NOT_PROVED),
    )


def _sentence(id_: str, outcome: Outcome) -> str:
    first = outcome.message.head.partition("\n")[0] if outcome.message else ""
    words = first.removeprefix(f"{id_} not proved ({outcome.mode}): ")
    return outcome.differs or words or outcome.verdict


def _known(known: Mapping[str, Any] | None, verdict: str, differs: str) -> str:
    """The known verdict in words, where it says more than the measured one."""
    if not known:
        return ""
    detail = one_line(str(known.get("detail", "")), 300)
    if not differs and known.get("verdict") in (verdict, Verdict.HOLDS):
        return detail
    versions = f" on Kubernetes {known['kubernetes']}" if known.get("kubernetes") else ""
    return f"{known.get('verdict')}{versions}{f': {detail}' if detail else ''}"


def _links(path: str, left: LeftBehind, limits: Limits) -> list[Link]:
    everything = Link("everything on one page", f"{path}/index.html")
    if not limits.files:
        return [everything]
    firsts: dict[str, Link] = {}
    for each in left.files:
        if each.group:
            firsts.setdefault(each.group, Link(each.group, f"{path}/index.html#{each.anchor}"))
    return [everything, *list(firsts.values())[: limits.files]]


def _headline(labs: Sequence[LabView], infrastructure: Sequence[str], refuting: bool) -> str:
    claims = [claim for lab in labs for claim in lab.claims]
    to_look_at = [
        claim for claim in claims if any(each.needs_a_look for each in claim.by_mode.values())
    ]
    skipped = [
        claim for claim in claims if all(each.style == "skipped" for each in claim.by_mode.values())
    ]
    if to_look_at:
        return f"{len(to_look_at)} of {_claims(len(claims))} to look at"
    if infrastructure:
        return "The infrastructure failed"
    if refuting:
        return f"{_claims(len(claims))}, each refuted as it should be"
    words = f"{_claims(len(claims) - len(skipped))}, all as known"
    return f"{words}; {len(skipped)} skipped" if skipped else words


def _claims(count: int) -> str:
    return "1 claim" if count == 1 else f"{count} claims"


def _facts(run: Mapping[str, Any], content: Mapping[str, Any]) -> list[tuple[str, str]]:
    seconds = run.get("seconds")
    took = ""
    if isinstance(seconds, int | float):
        minutes, rest = divmod(round(seconds), 60)
        took = f"{minutes} min {rest} s" if minutes > 1 else f"{seconds:.0f} s"
    facts = {
        "Kubernetes": run.get("kubernetes_version"),
        "proxy modes": ", ".join(map(str, run.get("modes", ()))),
        "cluster": run.get("cluster"),
        "nodes": run.get("nodes"),
        "engine": run.get("engine"),
        "images": run.get("images"),
        "started": str(run.get("started") or "").replace("T", " "),
        "took": took,
        "run": run.get("id"),
        "servicelab": content.get("servicelab"),
    }
    return [(name, one_line(str(value), 200)) for name, value in facts.items() if value]
