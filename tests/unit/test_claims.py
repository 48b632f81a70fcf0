"""A marker names one claim, and a test measures one verdict on it."""

from __future__ import annotations

import pytest

from servicelab import Verdict, claim
from servicelab.verdict.catalogue import Claim, Known
from servicelab.verdict.claims import ClaimMark, read_mark
from servicelab.verdict.measurement import Measurement, difference, unknown
from servicelab.verdict.outcome import combined

ROUND_ROBIN = Claim(
    "CIP-09",
    "Round robin is how a Service balances",
    known=(
        Known(Verdict.FALSE, ("iptables",), ">=1.30"),
        Known(Verdict.HOLDS_BUT, ("ipvs",), detail="scheduler rr"),
    ),
)


def test_the_marker_carries_what_was_given() -> None:
    """Id, modes, points and hint can be read back, however the marker was written."""
    mark = claim("NP-10", modes=["iptables"], points=2, hint="Which address?")

    assert read_mark(mark.mark) == ClaimMark("NP-10", ("iptables",), 2, "Which address?")
    assert read_mark(pytest.mark.claim("NP-10").mark) == ClaimMark("NP-10")
    assert read_mark(claim("NP-10", modes="ipvs").mark).modes == ("ipvs",)


@pytest.mark.parametrize("id_", ["cip-03", "CIP-3", "CIP03", "CIP-03 ", ""])
def test_a_wrong_id_is_refused(id_: str) -> None:
    """An id that no catalogue can hold is refused where it is written."""
    with pytest.raises(ValueError, match="write it like CIP-03"):
        claim(id_)


def test_silence_is_holds() -> None:
    """A test that says nothing has measured `holds`, and has seen nothing particular."""
    measured = Measurement()

    assert (measured.verdict, measured.seen, measured.said) == (Verdict.HOLDS, "", False)


@pytest.mark.parametrize(
    ("say", "verdict"),
    [
        ("holds", Verdict.HOLDS),
        ("holds_but", Verdict.HOLDS_BUT),
        ("changed", Verdict.CHANGED),
        ("false", Verdict.FALSE),
    ],
)
def test_a_verdict_rests_on_what_was_seen(say: str, verdict: Verdict) -> None:
    """Each verdict is taken with its observation, and none without."""
    measured = Measurement()
    with pytest.raises(ValueError, match="needs the observation"):
        getattr(measured, say)("  ")
    getattr(measured, say)("saw\n  this")
    getattr(measured, say)("and that")

    assert (measured.verdict, measured.seen, measured.said) == (verdict, "saw this; and that", True)


def test_two_verdicts_are_an_error() -> None:
    """A test that comes to two verdicts has come to none."""
    measured = Measurement()
    measured.holds("saw a")

    with pytest.raises(ValueError, match=r"`holds` \(saw a\), then `false` \(saw b\)"):
        measured.false("saw b")


@pytest.mark.parametrize(
    ("verdicts", "claim_verdict"),
    [
        ("HOLDS HOLDS", "HOLDS"),
        ("HOLDS HOLDS_BUT", "HOLDS_BUT"),
        ("HOLDS_BUT SKIPPED", "SKIPPED"),
        ("SKIPPED CHANGED", "CHANGED"),
        ("CHANGED FALSE", "FALSE"),
        ("FALSE NOT_PROVED", "NOT_PROVED"),
    ],
)
def test_one_claim_has_one_verdict(verdicts: str, claim_verdict: str) -> None:
    """To hold all tests must have run, to refute one is enough, a failure leaves it open."""
    given = [Verdict[name] for name in verdicts.split()]

    assert combined(given) is Verdict[claim_verdict]
    assert combined(given[::-1]) is Verdict[claim_verdict]


def test_a_difference_says_both_verdicts() -> None:
    """Claim, measured verdict, mode, version, observation and known verdict, in one sentence."""
    said = difference(
        ROUND_ROBIN, Verdict.HOLDS, "abcabc", mode="iptables", kubernetes_version="v1.37.0"
    )

    assert said == (
        "CIP-09 measured `holds` in iptables mode on v1.37.0 (abcabc), "
        "known is `false` for Kubernetes >=1.30"
    )
    said = difference(ROUND_ROBIN, Verdict.HOLDS, "", mode="ipvs", kubernetes_version="")
    assert said == (
        "CIP-09 measured `holds` in ipvs mode on an unknown Kubernetes version, "
        "known is `holds, but …` (scheduler rr)"
    )


@pytest.mark.parametrize(
    ("verdict", "mode", "version"),
    [
        (Verdict.FALSE, "iptables", "v1.37.0"),
        (Verdict.NOT_PROVED, "iptables", "v1.37.0"),
        (Verdict.SKIPPED, "iptables", "v1.37.0"),
        (Verdict.HOLDS, "iptables", "v1.29.4"),
        (Verdict.HOLDS, "iptables", ""),
        (Verdict.HOLDS, "nftables", "v1.37.0"),
    ],
)
def test_no_difference_where_nothing_else_is_known(
    verdict: Verdict, mode: str, version: str
) -> None:
    """The known verdict, one that is not measured, and one about which nothing is known."""
    assert not difference(ROUND_ROBIN, verdict, "x", mode=mode, kubernetes_version=version)


def test_a_new_place_is_told() -> None:
    """Where no verdict is known yet, a sentence says for which mode and version."""
    said = unknown(ROUND_ROBIN, mode="iptables", kubernetes_version="v1.29.4")

    assert said == "no verdict known yet for CIP-09 in iptables mode on v1.29.4"
    assert not unknown(ROUND_ROBIN, mode="iptables", kubernetes_version="v1.38.0-alpha.1")


@pytest.mark.parametrize(
    ("kubernetes", "version", "fits"),
    [
        (">=1.30", "v1.37.0", True),
        (">=1.30,<1.37", "v1.37.0", False),
        ("<1.37", "v1.36.9+k3s1", True),
        (">=1.38", "v1.38.0-alpha.1", True),
        ("<1.38", "v1.38.0-rc.0", False),
        (">=1.30", "", False),
        (">=1.30", "a build of today", False),
        ("", "", True),
    ],
)
def test_known_verdicts_are_for_versions(kubernetes: str, version: str, fits: bool) -> None:
    """A pre-release counts as the version it becomes; an unknown version fits no specifier."""
    assert Known(Verdict.HOLDS, ("ipvs",), kubernetes).fits("ipvs", version) is fits
