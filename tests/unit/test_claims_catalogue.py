"""A claims.toml is read as it is meant, and each mistake in it is one clear sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicelab.errors import UsageError
from servicelab.verdict import Verdict
from servicelab.verdict.catalogue import Claim, Known, catalogue_above, read_catalogue

GOOD = """
[CIP-09]
says = "Round robin is how a Service balances"
modes = ["ipvs", "iptables"]
known = [
  { modes = ["iptables"], kubernetes = ">=1.30,<2", verdict = "false" },
  { verdict = "holds, but …", but = "with the scheduler rr" },
]

[CIP-03]
says = "Endpoints list the ready Pods"
"""


def write(folder: Path, content: str) -> Path:
    path = folder / "claims.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_catalogue_is_read(tmp_path: Path) -> None:
    """Ids in the file's order, modes in the order they are entered, entries as they stand."""
    catalogue = read_catalogue(write(tmp_path, GOOD))

    assert catalogue.lab == tmp_path.name
    assert list(catalogue.claims) == ["CIP-09", "CIP-03"]
    assert catalogue.claims["CIP-09"] == Claim(
        "CIP-09",
        "Round robin is how a Service balances",
        ("iptables", "ipvs"),
        (
            Known(Verdict.FALSE, ("iptables",), ">=1.30,<2"),
            Known(Verdict.HOLDS_BUT, ("iptables", "ipvs"), "", "with the scheduler rr"),
        ),
    )
    assert catalogue.claims["CIP-03"].modes == ("iptables", "nftables", "ipvs")


def test_the_first_entry_that_fits_counts(tmp_path: Path) -> None:
    """An entry for a version may stand before the one for all others."""
    claim = read_catalogue(write(tmp_path, GOOD)).claims["CIP-09"]

    new = claim.known_for("iptables", "v1.37.0")
    old = claim.known_for("iptables", "v1.29.0")

    assert new
    assert new.verdict is Verdict.FALSE
    assert old
    assert old.verdict is Verdict.HOLDS_BUT
    assert claim.known_for("nftables", "v1.37.0") is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[CIP-09", "is not TOML"),
        ("[CIP-9]\nsays = 'x'", r"\[CIP-9\] is not a claim's id; write it like \[CIP-03\]"),
        ("CIP-09 = 1", r"\[CIP-09\] is not a table; give it known, modes, says"),
        ("[CIP-09]", r"\[CIP-09\] does not say what it claims; add says ="),
        ("[CIP-09]\nsays = ' '", "does not say what it claims"),
        (
            "[CIP-09]\nsays = 'x'\nmode = ['ipvs']",
            "unknown key 'mode'; use known, modes, says",
        ),
        ("[CIP-09]\nsays = 'x'\nmodes = []", "is not a list of modes"),
        (
            "[CIP-09]\nsays = 'x'\nmodes = ['userspace']",
            "names the mode 'userspace'; use one of iptables, nftables, ipvs",
        ),
        ("[CIP-09]\nsays = 'x'\nknown = 'false'", "is not a list"),
        (
            "[CIP-09]\nsays = 'x'\nknown = [{}]",
            r"entry 1 of known of \[CIP-09\] has the verdict None; use one of `holds`",
        ),
        (
            "[CIP-09]\nsays = 'x'\nknown = [{verdict = 'holds'}, {verdict = 'not proved'}]",
            "entry 2 of known .* has the verdict 'not proved'",
        ),
        (
            "[CIP-09]\nsays = 'x'\nknown = [{verdict = 'holds, but …'}]",
            "is `holds, but …` without `but`",
        ),
        (
            "[CIP-09]\nsays = 'x'\nknown = [{verdict = 'changed', but = 'y'}]",
            "is `changed` with `but`; take but out",
        ),
        (
            "[CIP-09]\nsays = 'x'\nknown = [{verdict = 'changed'}]",
            "is `changed` without `since`",
        ),
        (
            "[CIP-09]\nsays = 'x'\nknown = [{verdict = 'false', kubernetes = '1.30+'}]",
            "is for Kubernetes '1.30",
        ),
        (
            "[CIP-09]\nsays = 'x'\nknown = [{verdict = 'false', kubernetes = 1.3}]",
            "is for Kubernetes 1.3; write versions like",
        ),
        (
            "[CIP-09]\nsays = 'x'\nmodes = ['ipvs']\n"
            "known = [{verdict = 'false', modes = ['iptables']}]",
            "is for iptables, in which the claim is not tested",
        ),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, content: str, problem: str) -> None:
    """The sentence names the file, the entry, what is wrong and what would be right."""
    path = write(tmp_path, content)

    with pytest.raises(UsageError, match=problem) as raised:
        read_catalogue(path)

    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    """A file in another encoding is a mistake of the user, not a traceback."""
    path = tmp_path / "claims.toml"
    path.write_bytes(b"[CIP-09]\nsays = '\xff'")

    with pytest.raises(UsageError, match="can't be read"):
        read_catalogue(path)


def test_the_nearest_catalogue_counts(tmp_path: Path) -> None:
    """A test belongs to the catalogue beside it, else to the next one above, up to the root."""
    lab = tmp_path / "labs" / "clusterip"
    (lab / "deep").mkdir(parents=True)
    path = write(lab, "[CIP-01]\nsays = 'x'")

    for test in (lab / "test_a.py", lab / "deep" / "test_b.py"):
        catalogue = catalogue_above(test, root=tmp_path)
        assert catalogue
        assert catalogue.path == path
    assert catalogue_above(tmp_path / "labs" / "test_c.py", root=tmp_path) is None
    assert catalogue_above(lab / "deep" / "test_b.py", root=lab / "deep") is None
