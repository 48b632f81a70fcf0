"""What a test measured about its claim, and how that compares with what is known."""

from __future__ import annotations

from dataclasses import dataclass, field

from servicelab.verdict.catalogue import Claim
from servicelab.verdict.chart import Chart
from servicelab.verdict.outcome import Verdict


@dataclass(slots=True)
class Measurement:
    """The verdict a test comes to; the `verdict` fixture.

    A test that passes without saying anything has measured `holds`.

    Attributes:
        verdict: what was measured.
        said: did the test say so itself?
        charts: the figures that it rests on.
    """

    verdict: Verdict = Verdict.HOLDS
    said: bool = False
    charts: list[Chart] = field(default_factory=list)
    _seen: list[str] = field(default_factory=list)

    def holds(self, seen: str) -> None:
        """It is true as stated; `seen` is the observation that shows it."""
        self._say(Verdict.HOLDS, seen)

    def holds_but(self, seen: str) -> None:
        """It is true under a condition that the claim leaves out; `seen` says which."""
        self._say(Verdict.HOLDS_BUT, seen)

    def changed(self, seen: str) -> None:
        """It was true and is no longer; `seen` says since when, and what was seen instead."""
        self._say(Verdict.CHANGED, seen)

    def false(self, seen: str) -> None:
        """It is not true as stated; `seen` is the observation that refutes it."""
        self._say(Verdict.FALSE, seen)

    def plot(self, chart: Chart) -> None:
        """Show figures, whatever the verdict will be."""
        self.charts.append(chart)

    @property
    def seen(self) -> str:
        """What was seen, in the test's words; "" if it said nothing."""
        return "; ".join(self._seen)

    def _say(self, verdict: Verdict, seen: str) -> None:
        """Take down a verdict.

        Raises:
            ValueError: nothing was seen, or the test has already said another verdict.
        """
        if not seen.strip():
            raise ValueError(f"the verdict `{verdict}` needs the observation it rests on")
        if self.said and verdict is not self.verdict:
            raise ValueError(
                f"one test can't come to two verdicts: `{self.verdict}` ({self.seen}), "
                f"then `{verdict}` ({seen})"
            )
        self.verdict = verdict
        self.said = True
        self._seen.append(" ".join(seen.split()))


def difference(
    claim: Claim, verdict: Verdict, seen: str, *, mode: str, kubernetes_version: str
) -> str:
    """One sentence on how a measured verdict differs from the known one; "" if it does not.

    Also "" where none is known yet.

    Args:
        claim: the claim.
        verdict: what was measured.
        seen: what was seen; may be empty.
        mode: the proxy mode.
        kubernetes_version: such as "v1.37.0"; "" if it isn't known.
    """
    known = claim.known_for(mode, kubernetes_version)
    if known is None or not verdict.is_measured or known.verdict is verdict:
        return ""
    observed = f" ({seen})" if seen else ""
    return (
        f"{claim.id} measured `{verdict}` {_place(mode, kubernetes_version)}{observed}, "
        f"known is {known}"
    )


def unknown(claim: Claim, *, mode: str, kubernetes_version: str) -> str:
    """One sentence if no verdict is known for this mode and version; else ""."""
    if claim.known_for(mode, kubernetes_version):
        return ""
    return f"no verdict known yet for {claim.id} {_place(mode, kubernetes_version)}"


def _place(mode: str, kubernetes_version: str) -> str:
    return f"in {mode} mode on {kubernetes_version or 'an unknown Kubernetes version'}"
