"""What changes when a cluster moves from one proxy mode to another: the claims that differ."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servicelab.errors import UsageError
from servicelab.report.run_folder import RunFolder, find_run, runs_in
from servicelab.report.safe_text import one_line

MEASURED = ("holds", "holds, but …", "changed", "false")
_MOST = 600  # characters of what was seen


@dataclass(frozen=True, slots=True)
class Side:
    """A claim in one mode.

    Attributes:
        verdict: as measured; "" if the runs have none.
        seen: what was seen, in the test's words; or why nothing was.
        run: the run that it is from.
    """

    verdict: str
    seen: str
    run: str

    def __str__(self) -> str:
        said = self.verdict or "not measured"
        return f"{said}: {self.seen}" if self.seen else said


@dataclass(frozen=True, slots=True)
class Difference:
    """A claim that is not the same in two modes.

    Attributes:
        claim: its id.
        says: what it says.
        before: in the mode that is left.
        after: in the mode that is entered.
    """

    claim: str
    says: str
    before: Side
    after: Side


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two modes, claim by claim.

    Attributes:
        modes: the one that is left and the one that is entered.
        kubernetes: the version that both were measured on.
        differences: claims whose verdict differs.
        one_sided: claims that are about one of the two modes only, or were measured in one only.
        same: the ids of claims that were measured in both with the same verdict.
    """

    modes: tuple[str, str]
    kubernetes: str
    differences: tuple[Difference, ...]
    one_sided: tuple[Difference, ...]
    same: tuple[str, ...]


def compare(before: str, after: str, runs: Path, run: str = "") -> Comparison:
    """Compare two modes by what was measured.

    Each claim's newest verdict counts, over all runs on the Kubernetes version of the newest run.

    Args:
        before: the mode that is left.
        after: the mode that is entered.
        runs: the folder with the runs' folders.
        run: look at this run only.

    Raises:
        UsageError: no run has measured anything in one of the modes.
    """
    if before == after:
        raise UsageError(f"{before} is compared with itself", remedy="name two modes")
    folders = [find_run(run, runs)] if run else runs_in(runs)
    if not folders:
        raise UsageError(
            f"there is no run in {runs}", remedy=f"`servicelab run --proxy-mode {before},{after}`"
        )
    cells, says, kubernetes = _newest(folders, (before, after))
    for mode in (before, after):
        if not any(of == mode and side.verdict for (_, of), side in cells.items()):
            raise UsageError(
                f"nothing was measured in {mode} mode on Kubernetes {kubernetes or '(unknown)'}",
                remedy=f"`servicelab run --proxy-mode {mode}`",
            )
    missing = Side("", "", "")
    differences, one_sided, same = [], [], []
    for claim, sentence in says.items():
        found = Difference(
            claim, sentence, cells.get((claim, before), missing), cells.get((claim, after), missing)
        )
        if not (found.before.verdict and found.after.verdict):
            if found.before.verdict or found.after.verdict:
                one_sided.append(found)
        elif found.before.verdict == found.after.verdict:
            same.append(claim)
        else:
            differences.append(found)
    return Comparison(
        (before, after), kubernetes, tuple(differences), tuple(one_sided), tuple(same)
    )


def render(comparison: Comparison, *, width: int = 80) -> str:
    """The comparison as text."""
    return "\n".join(_lines(comparison, width))


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON has it."""

    def side(one: Side) -> dict[str, str]:
        return {"verdict": one.verdict, "seen": one.seen, "run": one.run}

    def one(found: Difference) -> dict[str, Any]:
        sides = (side(found.before), side(found.after))
        return {
            "id": found.claim, "says": found.says,
            **dict(zip(comparison.modes, sides, strict=True)),
        }  # fmt: skip

    return {
        "modes": list(comparison.modes),
        "kubernetes_version": comparison.kubernetes,
        "differences": [one(found) for found in comparison.differences],
        "one_sided": [one(found) for found in comparison.one_sided],
        "same": list(comparison.same),
    }


def _newest(
    folders: Sequence[RunFolder], modes: tuple[str, str]
) -> tuple[dict[tuple[str, str], Side], dict[str, str], str]:
    """The newest measured cell of each claim and mode, of runs on one Kubernetes version."""
    cells: dict[tuple[str, str], Side] = {}
    says: dict[str, str] = {}
    kubernetes = ""
    for folder in folders:  # newest first
        try:
            content = folder.read()
        except UsageError:
            continue  # a run that did not end has nothing to say
        version = str(content["run"].get("kubernetes_version", ""))
        if content["run"].get("refuting") or not version or (kubernetes or version) != version:
            continue
        kubernetes = version
        for claim in content["claims"]:
            key = (claim["id"], claim["mode"])
            says.setdefault(claim["id"], claim["says"])
            if claim["mode"] in modes and not (key in cells and cells[key].verdict):
                cells[key] = _side(claim, folder.name)
    return cells, dict(sorted(says.items())), kubernetes


def _side(claim: Mapping[str, Any], run: str) -> Side:
    measured = claim["verdict"] in MEASURED
    said = claim["seen"] if measured else claim["message"]
    return Side(claim["verdict"] if measured else "", one_line(said or "", _MOST), run)


def _lines(comparison: Comparison, width: int) -> Iterator[str]:
    before, after = comparison.modes
    yield f"from {before} to {after}, on Kubernetes {comparison.kubernetes}"
    yield ""
    count = len(comparison.differences)
    yield f"{count or 'no'} claims differ" if count != 1 else "1 claim differs"
    for found in comparison.differences:
        yield from _told(found, comparison.modes, width)
    if comparison.one_sided:
        yield ""
        yield "in one of the two modes only"
        for found in comparison.one_sided:
            yield from _told(found, comparison.modes, width)
    yield ""
    yield from textwrap.wrap(
        f"the same in both ({len(comparison.same)}): {', '.join(comparison.same) or 'none'}", width
    )


def _told(found: Difference, modes: tuple[str, str], width: int) -> Iterator[str]:
    yield ""
    yield from textwrap.wrap(
        f"{found.claim}  {found.says}", width, initial_indent="  ", subsequent_indent="  "
    )
    longest = max(map(len, modes))
    for mode, side in zip(modes, (found.before, found.after), strict=True):
        lead = f"    {mode:<{longest}}  "
        yield from textwrap.wrap(
            str(side), width, initial_indent=lead, subsequent_indent=" " * len(lead)
        )
