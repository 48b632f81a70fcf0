"""Workers that share a cluster take turns mode by mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from servicelab.errors import InfrastructureError
from servicelab.verdict import deadlines
from servicelab.verdict.mode_turns import ModeTurns


@pytest.fixture
def _impatient() -> Iterator[None]:
    before = deadlines.use(deadlines.parse(["mode_left=0.01"]))
    yield
    deadlines.use(before)


def worker(folder: Path) -> ModeTurns:
    return ModeTurns(
        ("iptables", "nftables", "ipvs"),
        folder,
        Counter(iptables=2, nftables=1),
        {"test_a": "iptables", "test_b": "iptables", "test_c": "nftables"},
    )


def test_the_first_mode_waits_for_nobody(tmp_path: Path) -> None:
    """There is nothing before the first mode."""
    worker(tmp_path).wait_for_turn("iptables")


@pytest.mark.usefixtures("_impatient")
def test_a_mode_waits_for_all_tests_of_the_earlier_ones(tmp_path: Path) -> None:
    """Tests done by any worker count; tests without a mode do not."""
    here, there = worker(tmp_path), worker(tmp_path)
    here.pytest_runtest_logfinish("test_a")
    here.pytest_runtest_logfinish("test_without_a_mode")

    with pytest.raises(
        InfrastructureError, match=r"could not enter the nftables mode(.|\n)*1 left"
    ):
        here.wait_for_turn("nftables")
    there.pytest_runtest_logfinish("test_b")
    here.wait_for_turn("nftables")
    with pytest.raises(InfrastructureError, match="nftables: 1 left"):
        here.wait_for_turn("ipvs")
