"""A lab's namespace has a name of its own, made from what it is for."""

from __future__ import annotations

import re

import pytest

from servicelab.errors import UsageError
from servicelab.lab.namespace import namespace_name


def test_a_namespace_is_named_after_its_claim() -> None:
    """What a name may not hold becomes a dash, and an ending makes it unique."""
    names = {namespace_name("clusterip-CIP_03: spread") for _ in range(20)}

    assert len(names) == 20
    for name in names:
        assert re.fullmatch(r"clusterip-cip-03-spread-[0-9a-f]{6}", name)


def test_a_long_title_is_cut() -> None:
    """A name has at most 63 characters, and no two dashes where it was cut."""
    name = namespace_name("a" * 55 + " and more")

    assert len(name) <= 63
    assert re.fullmatch(r"a{55}-[0-9a-f]{6}", name)


def test_a_title_without_letters_is_refused() -> None:
    """There is nothing to name it after."""
    with pytest.raises(UsageError, match=r"'\.\.\.' has no letter"):
        namespace_name("...")
