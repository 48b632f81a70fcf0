"""Switching kube-proxy's mode in place: what it leaves, what is cleaned, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicelab.cluster.mode_leftovers import clean, kernel_state
from servicelab.cluster.proxy_mode import ModeRefused, mode_seen, read_configuration, restart
from servicelab.cluster.readiness import prove_ready
from servicelab.observe.model import rules_for
from servicelab.observe.node_rules import node_rules

pytestmark = pytest.mark.docker

OTHER = {"iptables": "nftables", "nftables": "iptables"}
LEFT_OF_IPTABLES = """\
*nat
:KUBE-SVC-LEFT - [0:0]
:KUBE-SEP-LEFT - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -d 192.0.2.1/32 -j KUBE-SERVICES
-A KUBE-SERVICES -d 192.0.2.1/32 -j KUBE-SVC-LEFT
-A KUBE-SVC-LEFT -j KUBE-SEP-LEFT
COMMIT
"""
LEFT_OF_IPVS = """\
*nat
:KUBE-NODE-PORT - [0:0]
-A PREROUTING -d 192.0.2.1/32 -m set --match-set KUBE-LEFT dst -j KUBE-NODE-PORT
COMMIT
"""


def test_a_switch_there_and_back_is_proved_on_every_node(cluster):
    """Each node reports the mode, its kernel shows it and nothing of the other."""
    before = cluster.mode
    for mode in (OTHER[before], before):
        switched = cluster.switch_mode(mode)

        assert switched is not None
        assert switched.mode == mode
        seen = [mode_seen(cluster, vantage) for vantage in cluster.node_vantages]
        assert [each.reported for each in seen] == [mode] * len(seen)
        assert [each.rules for each in seen] == [(mode,)] * len(seen)
        assert not any(each.kernel.left_behind(mode) for each in seen)
    assert cluster.switch_mode(before) is None, "nothing to do"


def test_leftovers_of_other_modes_are_cleaned_and_services_go_on(cluster):
    """Chains, jumps and sets of a mode that is not in force go; the one in force stays whole."""
    node = cluster.nodes[-1].name
    cluster.docker_exec(node, "ipset", "create", "KUBE-LEFT", "hash:ip")
    text = LEFT_OF_IPVS if cluster.mode == "iptables" else LEFT_OF_IPTABLES
    cluster.docker_exec(node, "iptables-restore", "--noflush", input=text)
    dirty = kernel_state(cluster, node)
    assert len(dirty.left_behind(cluster.mode)) == 2

    clean(cluster, node, cluster.mode, dirty)

    left = kernel_state(cluster, node)
    assert left.left_behind(cluster.mode) == ()
    assert left.modes == (cluster.mode,)
    prove_ready(cluster)


def test_a_kube_proxy_that_starts_again_keeps_every_rule(cluster):
    """In nftables mode too, where it compares what it wants with what nft lists."""
    before = cluster.mode
    for mode in (OTHER[before], before):
        cluster.switch_mode(mode)
        for vantage in cluster.node_vantages:
            rules = node_rules(cluster, vantage.name, mode)
            assert rules_for(rules, "default", "kubernetes")

            restart(cluster, vantage, mode)

            assert node_rules(cluster, vantage.name, mode) == rules
        prove_ready(cluster)


@pytest.mark.skipif(Path("/proc/net/ip_vs").exists(), reason="this kernel has ip_vs")
def test_a_mode_that_the_kernel_lacks_is_refused_and_put_back(cluster):
    """kube-proxy's own words say why, and the mode before is in force again."""
    before = cluster.mode

    with pytest.raises(ModeRefused, match=r"kube-proxy can't run in ipvs mode .*ipvs"):
        cluster.switch_mode("ipvs")

    assert cluster.mode == before
    assert (read_configuration(cluster).get("mode") or "iptables") == before
    assert all(mode_seen(cluster, each).shows_only(before) for each in cluster.node_vantages)
