"""Keeps packets in: nothing that a private engine's container sends leaves its networks.

An address of the Service or Pod range that no rule catches would follow the host's default route
out. While the private engine runs, the host has unreachable routes for both ranges, and routing
rules that prohibit whatever a container sends to an address outside the engine's pool. Routing
rules rather than iptables ones in DOCKER-USER: dockerd puts its own rules before those when it
restores a network, they need no exception for what stays on one bridge, and no reload of a
firewall takes them away.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path

from servicelab.engine.addresses import CANDIDATE_POOLS, POD_RANGE, SERVICE_RANGE
from servicelab.engine.packages import Programs
from servicelab.engine.state import HostChanges
from servicelab.errors import InfrastructureError

CHAIN = "SERVICELAB-GUARD"
GUARDED_RANGES = (SERVICE_RANGE, POD_RANGE)
# Before the kernel's main table (32766) and what VPNs put right before it.
FIRST_PREFERENCE = 9700
# Unique local addresses (RFC 4193): kind gives its network one of them. IPv6 is guarded by
# ip6tables, which this Docker leaves alone: a routing rule would catch the host's own packets too.
LOCAL_IPV6 = "fc00::/7"
_PROHIBITED_IPV6 = "icmp6-adm-prohibited"
IPV6_RULES = (
    # A frame that stays on its bridge passes here if bridge-nf-call-ip6tables is on.
    ("-m", "physdev", "--physdev-is-bridged", "-j", "RETURN"),
    ("-s", LOCAL_IPV6, "!", "-d", LOCAL_IPV6, "-j", "REJECT", "--reject-with", _PROHIBITED_IPV6),
)

_TOOLS = {"4": "iptables", "6": "ip6tables"}
_SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "fs/inotify/max_user_instances",
)
# A cluster of three nodes takes some 60 inotify instances, and many hosts allow 128 in all; a
# kubelet that gets none ends with an error that does not name it.
INOTIFY_INSTANCES = 1024

Rule = tuple[str, ...]


def routing_rules(pool: IPv4Network) -> list[Rule]:
    """The guard's routing rules for IPv4: arguments after `ip rule add`."""
    rules: list[Rule] = []
    for source in (pool, *GUARDED_RANGES):
        inside = ("from", str(source), "to", str(pool), "lookup", "main")
        outside = ("from", str(source), "prohibit")
        rules += [inside, outside]
    # Each pool has its own: what another cache's engine left can't be taken for this one's.
    first = FIRST_PREFERENCE + 10 * (
        CANDIDATE_POOLS.index(pool) if pool in CANDIDATE_POOLS else len(CANDIDATE_POOLS)
    )
    return [("pref", str(first + n), *rule) for n, rule in enumerate(rules)]


def survey(programs: Programs) -> HostChanges:
    """What the host looks like before anything is changed; nothing is changed here.

    Raises:
        InfrastructureError: no iptables works on this kernel.
    """
    backend = _backend(programs)
    chains: list[str] = []
    policies: dict[str, str] = {}
    for family, tool in _TOOLS.items():
        for table in ("filter", "nat"):
            listed = programs.run(tool, "-t", table, "-S", backend=backend)
            for line in listed.stdout.splitlines():
                words = line.split()
                if words[:1] == ["-N"]:
                    chains.append(f"{family}/{table}/{words[1]}")
                elif words[:2] == ["-P", "FORWARD"] and table == "filter":
                    policies[family] = words[2]
    return HostChanges(
        routes=tuple(
            str(network) for network in GUARDED_RANGES if not _has_route(programs, network)
        ),
        chains=tuple(chains),
        policies=policies,
        sysctls={name: value for name in _SYSCTLS if (value := _read_sysctl(name)) is not None},
        backend=backend,
    )


def apply_guard(programs: Programs, pool: IPv4Network, changes: HostChanges) -> None:
    """Put the routes and rules in place; again and again leads to the same.

    Done before dockerd starts, so that no container ever runs without it.

    Raises:
        InfrastructureError: the kernel refuses a route or a rule.
    """
    inotify = "fs/inotify/max_user_instances"
    if int(_read_sysctl(inotify) or INOTIFY_INSTANCES) < INOTIFY_INSTANCES:
        (Path("/proc/sys") / inotify).write_text(str(INOTIFY_INSTANCES))
    for network in changes.routes:
        _must(programs, changes, "ip", "route", "replace", "unreachable", network)
    for rule in routing_rules(pool):
        programs.run("ip", "rule", "del", *rule)
        _must(programs, changes, "ip", "rule", "add", *rule)
    if "6" not in changes.policies:
        return  # No ip6tables in this kernel: see `survey`.
    programs.run("ip6tables", "-w", "-N", CHAIN, backend=changes.backend)
    _must(programs, changes, "ip6tables", "-w", "-F", CHAIN)
    for rule in IPV6_RULES:
        _must(programs, changes, "ip6tables", "-w", "-A", CHAIN, *rule)
    jump = ("FORWARD", "-j", CHAIN)
    if programs.run("ip6tables", "-w", "-C", *jump, backend=changes.backend).returncode:
        _must(programs, changes, "ip6tables", "-w", "-I", *jump)


def remove_guard(
    programs: Programs,
    pool: IPv4Network,
    changes: HostChanges,
    bridges: Iterable[str],
    *,
    shared: bool = False,
) -> None:
    """Take away the guard and what Docker left: its rules, chains, FORWARD policy, sysctls.

    Args:
        programs: where ip and iptables are.
        pool: the addresses that were guarded.
        changes: what the start changed; chains that were there before it stay.
        bridges: the engine's own bridges.
        shared: another dockerd runs on this host, so what two engines share stays for it.
    """
    gone = frozenset(bridges)
    before = frozenset(changes.chains)
    for family, tool in _TOOLS.items():
        if family not in changes.policies:
            continue
        for table in ("filter", "nat"):
            listed = programs.run(tool, "-t", table, "-S", backend=changes.backend).stdout
            chains = frozenset(
                name
                for name in made_chains(listed.splitlines())
                if not shared and f"{family}/{table}/{name}" not in before
            )
            for rule in leftover_rules(listed.splitlines(), chains, gone, pool):
                programs.run(tool, "-w", "-t", table, "-D", *rule, backend=changes.backend)
            for action in ("-F", "-X"):
                for chain in chains:
                    programs.run(tool, "-w", "-t", table, action, chain, backend=changes.backend)
        if not shared:
            policy = changes.policies[family]
            programs.run(tool, "-w", "-P", "FORWARD", policy, backend=changes.backend)
    for rule in routing_rules(pool):
        programs.run("ip", "rule", "del", *rule)
    if shared:
        return
    for network in changes.routes:
        programs.run("ip", "route", "del", "unreachable", network)
    for name, value in changes.sysctls.items():
        if _read_sysctl(name) not in {None, value}:
            (Path("/proc/sys") / name).write_text(value)


def made_chains(listing: Iterable[str]) -> list[str]:
    """The guard's and Docker's chains in the output of `iptables -S`."""
    names = [words[1] for line in listing if (words := line.split())[:1] == ["-N"]]
    return [name for name in names if name == CHAIN or name.startswith("DOCKER")]


def leftover_rules(
    listing: Iterable[str], chains: frozenset[str], bridges: frozenset[str], pool: IPv4Network
) -> list[Rule]:
    """Which rules in the output of `iptables -S` are the engine's, as arguments for -D.

    Args:
        chains: the engine's own chains; a jump to one of them is the engine's.
        bridges: the engine's own bridges; a rule about one of them is the engine's.
        pool: the engine's addresses; Docker masquerades and forwards from and to them.
    """
    found: list[Rule] = []
    for line in listing:
        words = line.split()
        if words[:1] != ["-A"] or words[1] in chains:
            continue
        if any(word in chains or word in bridges or _is_within(word, pool) for word in words[2:]):
            found.append(tuple(words[1:]))
    return found


def _is_within(word: str, pool: IPv4Network) -> bool:
    try:
        return IPv4Network(word).subnet_of(pool)
    except ValueError:
        return False


def _backend(programs: Programs) -> str:
    for backend in ("nft", "legacy"):
        if programs.run("iptables", "-S", backend=backend).returncode == 0:
            return backend
    refused = programs.run("iptables", "-S")
    raise InfrastructureError(
        f"iptables does not work on this kernel: {refused.stderr.strip()}",
        remedy="use a kernel with nf_tables or ip_tables; see `servicelab doctor`",
    )


def _has_route(programs: Programs, network: IPv4Network) -> bool:
    return bool(programs.run("ip", "route", "show", "exact", str(network)).stdout.strip())


def _read_sysctl(name: str) -> str | None:
    path = Path("/proc/sys") / name
    return path.read_text().strip() if path.exists() else None


def _must(programs: Programs, changes: HostChanges, *command: str) -> None:
    done = programs.run(*command, backend=changes.backend)
    if done.returncode:
        raise InfrastructureError(
            f"the host refused `{' '.join(command)}`: {done.stderr.strip()}",
            remedy="servicelab's private engine needs root with CAP_NET_ADMIN",
        )
