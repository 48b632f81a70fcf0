"""Reading a node's rules, with a node of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from servicelab.errors import UsageError
from servicelab.observe.node_rules import node_rules
from servicelab.observe.unreadable import RulesUnreadable

SAMPLES = Path(__file__).parent / "rules"
IPTABLES = (SAMPLES / "iptables-worker.txt").read_text()
NFTABLES = (SAMPLES / "nftables-worker.json").read_text()


class Nodes:
    """A cluster whose nodes print what they are told, one text after the other."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, ...]] = []

    def docker_exec(self, node: str, *argv: str) -> str:
        self.asked.append((node, *argv))
        return self.answers.pop(0)


def read(cluster: Any, mode: str) -> int:
    return len(node_rules(cluster, "worker", mode))


def test_iptables_are_asked_for_all_tables() -> None:
    """What rejects stands in another table than what forwards."""
    cluster = Nodes(IPTABLES)

    assert read(cluster, "iptables") > 0
    assert cluster.asked == [("worker", "iptables-save")]


def test_nftables_are_asked_for_kube_proxys_table_in_json() -> None:
    """Nothing else is asked for."""
    cluster = Nodes(NFTABLES)

    assert read(cluster, "nftables") > 0
    assert cluster.asked == [("worker", "nft", "-j", "list", "table", "ip", "kube-proxy")]


def test_a_reading_between_two_writes_is_read_again() -> None:
    """kube-proxy commits its tables one after the other."""
    between = IPTABLES.replace("-j KUBE-SVL-KWWUNVIOBYPHGPMU\n", "-j KUBE-SVL-GONE\n", 1)
    cluster = Nodes(between, IPTABLES)

    assert read(cluster, "iptables") > 0
    assert cluster.answers == []


def test_rules_that_stay_unreadable_are_an_error() -> None:
    """It doesn't ask for ever."""
    cluster = Nodes("", "", "", IPTABLES)

    with pytest.raises(RulesUnreadable, match="table nat: it is missing"):
        read(cluster, "iptables")
    assert cluster.answers == [IPTABLES]


def test_another_mode_is_refused_before_the_node_is_asked() -> None:
    """There is no such mode any more."""
    cluster = Nodes()

    with pytest.raises(UsageError, match="userspace"):
        read(cluster, "userspace")
    assert cluster.asked == []
