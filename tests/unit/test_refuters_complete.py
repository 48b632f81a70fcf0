"""Each lab's refuters stand beside its claims, one to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicelab.explain import Word
from servicelab.verdict.catalogue import read_catalogue
from servicelab.verdict.refuter import load_refuters

ROOT = Path(__file__).parents[2]
REFUTERS = Path("tests", "cluster", "refuters")
LABS = sorted(path.parent.name for path in ROOT.glob("labs/*/claims.toml"))


@pytest.mark.parametrize("lab", LABS)
def test_every_claim_has_a_refuter_and_no_refuter_is_left_over(lab: str) -> None:
    """The ids of claims.toml are those of REFUTERS."""
    claims = read_catalogue(ROOT / "labs" / lab / "claims.toml").claims
    refuters = load_refuters(str(REFUTERS / f"{lab}.py"), root=ROOT)

    assert set(refuters) == set(claims)


@pytest.mark.parametrize("lab", LABS)
def test_a_refuter_says_why_in_one_sentence(lab: str) -> None:
    """Its reason ends with the only full stop, and what it expects is more than a word."""
    for refuter in load_refuters(str(REFUTERS / f"{lab}.py"), root=ROOT).values():
        assert refuter.why.endswith("."), refuter.claim
        assert ". " not in refuter.why, refuter.claim
        assert " " in refuter.expects, refuter.claim


@pytest.mark.parametrize("lab", LABS)
def test_a_layer_that_a_refuter_names_is_one_of_the_walk(lab: str) -> None:
    """It is one of the words of `servicelab explain`, or none."""
    words = {"", *map(str, Word)}
    for refuter in load_refuters(str(REFUTERS / f"{lab}.py"), root=ROOT).values():
        assert refuter.layer in words, refuter.claim
