"""What a proxy mode left in a node's kernel when kube-proxy moved on to another, and cleaning it.

kube-proxy cleans up after itself only where nftables is entered or left; between iptables and ipvs
everything stays, and on the way from ipvs to nftables some sets and chains do (`platformCleanup`
in its cmd/kube-proxy/app/server_linux.go). `kube-proxy --cleanup` is of no use beside a kube-proxy
that runs: it takes the mode in force away too. So what is left is removed by name, and nothing
else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servicelab.cluster.config import PROXY_MODES
from servicelab.errors import InfrastructureError
from servicelab.observe.ipvs import IPVS_LINK

if TYPE_CHECKING:
    from servicelab.cluster.config import ProxyMode
    from servicelab.cluster.kind_cluster import Cluster

#: Chains that only one mode makes; those that both make are written anew by the one in force.
CHAINS: dict[str, re.Pattern[str]] = {
    "iptables": re.compile(
        r"KUBE-(SVC-.+|SVL-.+|SEP-.+|EXT-.+|FW-.+|NODEPORTS|EXTERNAL-SERVICES|PROXY-CANARY)"
    ),
    "ipvs": re.compile(
        r"KUBE-(NODE-PORT|LOAD-BALANCER|SOURCE-RANGES-FIREWALL|IPVS-FILTER|IPVS-OUT-FILTER)"
    ),
}
#: Chains that both make: without either mode there is nobody to need them.
SHARED = re.compile(r"KUBE-(SERVICES|POSTROUTING|MARK-MASQ|FORWARD|PROXY-FIREWALL)")
TABLES = ("nat", "filter", "mangle")
FAMILIES = ("iptables", "ip6tables")
_CHAIN_LINE = re.compile(r"^:(?P<chain>\S+) ", re.MULTILINE)
_JUMP = re.compile(r"^-A (?P<from>\S+) .*?-[jg] (?P<to>KUBE-\S+)")


@dataclass(frozen=True, slots=True)
class KernelState:
    """What a node's kernel holds of any mode.

    Attributes:
        chains: kube-proxy's iptables chains, each as "iptables nat KUBE-SVC-…".
        jumps: rules of other chains that lead into kube-proxy's, as iptables-save prints them, each
            with its program and table in front.
        nft_tables: kube-proxy's tables, each as "ip kube-proxy".
        virtual_servers: how many ip_vs has.
        ipsets: the names of kube-proxy's sets.
        link: is there a kube-ipvs0?
    """

    chains: tuple[str, ...] = ()
    jumps: tuple[tuple[str, str, str], ...] = ()
    nft_tables: tuple[str, ...] = ()
    virtual_servers: int = 0
    ipsets: tuple[str, ...] = ()
    link: bool = False

    def foreign_chains(self, mode: str) -> list[str]:
        """Chains that no part of a mode needs."""
        patterns = [pattern for of, pattern in CHAINS.items() if of != mode]
        if mode == "nftables":
            patterns.append(SHARED)
        return [
            chain
            for chain in self.chains
            if any(pattern.fullmatch(chain.split()[-1]) for pattern in patterns)
        ]

    def left_behind(self, mode: str) -> tuple[str, ...]:
        """What is not of the mode in force, each kind in a few words; nothing if all is."""
        found = []
        if chains := self.foreign_chains(mode):
            found.append(f"{len(chains)} iptables chains, such as {chains[0].split()[-1]}")
        if mode != "nftables" and self.nft_tables:
            found.append(f"nftables table {', '.join(self.nft_tables)}")
        if mode != "ipvs":
            if self.virtual_servers:
                found.append(f"{self.virtual_servers} virtual servers in ip_vs")
            if self.ipsets:
                found.append(f"{len(self.ipsets)} ipsets, such as {self.ipsets[0]}")
            if self.link:
                found.append(f"the link {IPVS_LINK}")
        return tuple(found)

    @property
    def modes(self) -> tuple[ProxyMode, ...]:
        """The modes that have rules for Services here."""
        names = [chain.split()[-1] for chain in self.chains]
        holds = {
            "iptables": any(name.startswith("KUBE-SVC-") for name in names),
            "nftables": "ip kube-proxy" in self.nft_tables,
            "ipvs": self.virtual_servers > 0,
        }
        return tuple(mode for mode in PROXY_MODES if holds[mode])


def kernel_state(cluster: Cluster, node: str) -> KernelState:
    """Read what a node's kernel holds of any mode.

    Raises:
        InfrastructureError: the node can't be asked.
    """
    chains: list[str] = []
    jumps: list[tuple[str, str, str]] = []
    for family in FAMILIES:
        found, leading = _tables(cluster.docker_exec(node, f"{family}-save"), family)
        chains += found
        jumps += leading
    return KernelState(
        chains=tuple(chains),
        jumps=tuple(jumps),
        nft_tables=_nft_tables(cluster.docker_exec(node, "nft", "list", "tables")),
        # The files are not there without the modules; `-s` says nothing of that.
        virtual_servers=_virtual_servers(cluster, node),
        ipsets=_ipsets(cluster, node),
        link=IPVS_LINK in cluster.docker_exec(node, "ls", "/sys/class/net").split(),
    )


def clean(cluster: Cluster, node: str, mode: str, state: KernelState) -> None:
    """Take away what is not of the mode in force.

    Args:
        cluster: the cluster.
        node: one of its nodes.
        mode: the mode that kube-proxy runs in there.
        state: as just read.

    Raises:
        InfrastructureError: the kernel refuses a removal.
    """
    for family, text in removal(state, mode).items():
        cluster.docker_exec(node, f"{family}-restore", "--noflush", input=text)
    if mode != "nftables":
        for table in state.nft_tables:
            cluster.docker_exec(node, "nft", "delete", "table", *table.split())
    if mode == "ipvs":
        return
    if state.virtual_servers:
        cluster.docker_exec(node, "ipvsadm", "--clear")
    if state.link:
        cluster.docker_exec(node, "ip", "link", "delete", IPVS_LINK)
    for name in state.ipsets:
        cluster.docker_exec(node, "ipset", "destroy", name)


def removal(state: KernelState, mode: str) -> dict[str, str]:
    """What `iptables-restore --noflush` has to be told so that the foreign chains go.

    Returns:
        The text by program, "iptables" or "ip6tables"; only of those that have any.
    """
    foreign = state.foreign_chains(mode)
    texts = {}
    for family in FAMILIES:
        lines: list[str] = []
        for table in TABLES:
            names = _of(foreign, family, table)
            if not names:
                continue
            leading = [
                "-D " + rule.removeprefix("-A ")
                for of, where, rule in state.jumps
                if (of, where) == (family, table)
                and (match := _JUMP.match(rule))
                and match["to"] in names
                and match["from"] not in names
            ]
            # Declaring a chain empties it, so that none of them leads to another any more.
            lines += [f"*{table}", *(f":{name} - [0:0]" for name in names), *leading]
            lines += [*(f"-X {name}" for name in names), "COMMIT"]
        if lines:
            texts[family] = "\n".join(lines) + "\n"
    return texts


def _of(chains: Iterable[str], family: str, table: str) -> list[str]:
    prefix = f"{family} {table} "
    return [chain.removeprefix(prefix) for chain in chains if chain.startswith(prefix)]


def _tables(saved: str, family: str) -> tuple[list[str], list[tuple[str, str, str]]]:
    chains, jumps, table = [], [], ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif match := _CHAIN_LINE.match(line):
            name = match["chain"]
            if SHARED.fullmatch(name) or any(each.fullmatch(name) for each in CHAINS.values()):
                chains.append(f"{family} {table} {name}")
        elif _JUMP.match(line):
            jumps.append((family, table, line))
    return chains, jumps


def _nft_tables(listed: str) -> tuple[str, ...]:
    tables = (line.removeprefix("table ").strip() for line in listed.splitlines())
    return tuple(table for table in tables if table.split()[-1:] == ["kube-proxy"])


def _virtual_servers(cluster: Cluster, node: str) -> int:
    if "ip_vs" not in cluster.docker_exec(node, "ls", "/proc/net").split():
        return 0
    table = cluster.docker_exec(node, "cat", "/proc/net/ip_vs")
    return sum(line.startswith(("TCP ", "UDP ", "SCTP ")) for line in table.splitlines())


def _ipsets(cluster: Cluster, node: str) -> tuple[str, ...]:
    try:
        names = cluster.docker_exec(node, "ipset", "list", "-name").split()
    except InfrastructureError:  # a kernel without ip_set has no sets
        return ()
    return tuple(name for name in names if name.startswith("KUBE-"))
