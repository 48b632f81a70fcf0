"""What a mode left behind: told by kind, and removed by name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from servicelab.cluster.mode_leftovers import KernelState, clean, kernel_state, removal
from servicelab.cluster.proxy_mode import clean_up
from servicelab.errors import InfrastructureError
from servicelab.verdict import deadlines

NAT = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-AAAA - [0:0]
:KUBE-SEP-BBBB - [0:0]
:KUBE-NODE-PORT - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-AAAA
-A KUBE-SVC-AAAA -m comment --comment "default/kubernetes:https" -j KUBE-SEP-BBBB
-A KUBE-SEP-BBBB -p tcp -m tcp -j DNAT --to-destination 172.18.0.2:6443
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-NODE-PORT
COMMIT
"""


class Node:
    """A cluster with one node, whose commands print what they are told to."""

    def __init__(self, **printed: str) -> None:
        self.printed = {"ls /sys/class/net": "eth0\nlo\n", "ls /proc/net": "tcp\nudp\n", **printed}
        self.ran: list[tuple[tuple[str, ...], str | None]] = []

    def docker_exec(self, node: str, *argv: str, input: str | None = None) -> str:
        """Print, and remember what was asked."""
        self.ran.append((argv, input))
        return self.printed.get(" ".join(argv), "")


def state(**printed: str) -> KernelState:
    """The state that a node's commands tell of."""
    cluster: Any = Node(**printed)
    return kernel_state(cluster, "node")


IPVS: dict[str, str] = {
    "iptables-save": NAT,
    "ls /proc/net": "ip_vs\ntcp\n",
    "cat /proc/net/ip_vs": "IP Virtual Server version 1.2.1\n"
    "TCP  0A600001:01BB rr\n  -> AC120002:192B Masq 1 0 0\nUDP  0A60000A:0035 rr\n",
    "ipset list -name": "KUBE-CLUSTER-IP\nmine\nKUBE-6-CLUSTER-IP\n",
    "ls /sys/class/net": "eth0\nkube-ipvs0\nlo\n",
}


def test_what_is_of_the_mode_in_force_is_not_left_behind() -> None:
    """kube-proxy's own chains are no leftovers in iptables mode, nor is the kubelet's canary."""
    saved = NAT.replace(":KUBE-NODE-PORT - [0:0]\n", "").replace(
        "-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-NODE-PORT\n", ""
    )

    found = state(**{"iptables-save": saved})

    assert found.modes == ("iptables",)
    assert found.left_behind("iptables") == ()


def test_each_kind_of_leftover_is_told() -> None:
    """Chains, virtual servers, sets and the link; sets of somebody else are not ours to tell of."""
    found = state(**IPVS)

    assert found.modes == ("iptables", "ipvs")
    assert found.left_behind("iptables") == (
        "1 iptables chains, such as KUBE-NODE-PORT",
        "2 virtual servers in ip_vs",
        "2 ipsets, such as KUBE-CLUSTER-IP",
        "the link kube-ipvs0",
    )
    assert found.left_behind("ipvs") == ("2 iptables chains, such as KUBE-SVC-AAAA",)


def test_nftables_mode_needs_no_chain_at_all() -> None:
    """There the chains that iptables and ipvs share are left behind too."""
    found = state(**{"iptables-save": NAT, "nft list tables": "table ip kube-proxy\ntable ip x\n"})

    assert found.nft_tables == ("ip kube-proxy",)
    assert found.foreign_chains("nftables") == [
        f"iptables nat KUBE-{name}" for name in ("SERVICES", "SVC-AAAA", "SEP-BBBB", "NODE-PORT")
    ]
    assert found.left_behind("iptables")[-1] == "nftables table ip kube-proxy"


def test_removal_takes_the_jumps_first_and_nothing_else() -> None:
    """Rules of chains that stay lose only the jumps into those that go."""
    assert removal(state(**{"iptables-save": NAT}), "ipvs") == {
        "iptables": "*nat\n"
        ":KUBE-SVC-AAAA - [0:0]\n"
        ":KUBE-SEP-BBBB - [0:0]\n"
        "-D KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-AAAA\n"
        "-X KUBE-SVC-AAAA\n"
        "-X KUBE-SEP-BBBB\n"
        "COMMIT\n"
    }


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_cleaning_after_ipvs_empties_everything_of_it(mode: Any) -> None:
    """The virtual servers, the link, then the sets, which no rule names any more."""
    cluster: Any = Node(**IPVS)

    clean(cluster, "node", mode, state(**IPVS))

    ran = [" ".join(argv) for argv, _ in cluster.ran]
    assert ran == [
        "iptables-restore --noflush",
        "ipvsadm --clear",
        "ip link delete kube-ipvs0",
        "ipset destroy KUBE-CLUSTER-IP",
        "ipset destroy KUBE-6-CLUSTER-IP",
    ]


def test_nothing_left_is_nothing_done() -> None:
    """A clean node is only looked at."""
    cluster: Any = Node()

    clean(cluster, "node", "iptables", KernelState())

    assert not cluster.ran


class Shared(Node):
    """A node on which kube-proxy takes its rules away while we are at it."""

    node_vantages = (SimpleNamespace(name="node"),)

    def __init__(self, goes: bool) -> None:
        super().__init__(**{"iptables-save": NAT})
        self.goes = goes

    def docker_exec(self, node: str, *argv: str, input: str | None = None) -> str:
        """Refuse what is taken away, and tell from then on that it is gone."""
        if argv[0] == "iptables-restore" and self.printed.get("iptables-save"):
            if self.goes:
                del self.printed["iptables-save"]
            raise InfrastructureError("line 4 failed: Bad rule")
        return super().docker_exec(node, *argv, input=input)


def test_what_kube_proxy_takes_away_meanwhile_is_no_failure() -> None:
    """A kernel that refuses is read again, and cleaned of what is there then."""
    cluster: Any = Shared(goes=True)

    assert clean_up(cluster, "ipvs") == {"node": ("2 iptables chains, such as KUBE-SVC-AAAA",)}


def test_what_stays_is_told() -> None:
    """A kernel that refuses to the end is an infrastructure that fails, with its own words."""
    cluster: Any = Shared(goes=False)

    with deadlines.multiplied(0.01), pytest.raises(InfrastructureError, match="Bad rule"):
        clean_up(cluster, "ipvs")
