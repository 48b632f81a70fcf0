"""kube-proxy's rules in its IPVS mode: the kernel's table, with the names that the API knows.

The forms are those of Kubernetes v1.37.0, pkg/proxy/ipvs/proxier.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from servicelab.observe.ipvs_table import VirtualServer, parse_addresses, parse_sets, parse_table
from servicelab.observe.model import Backend, ServiceRule
from servicelab.observe.port_rules import PortName, in_one_model
from servicelab.observe.service_addresses import Owner, ServiceAddresses, service_addresses
from servicelab.observe.unreadable import RulesUnreadable
from servicelab.verdict import NotProved, deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

IPVS_TABLE = "/proc/net/ip_vs"
IPVS_LINK = "kube-ipvs0"
TABLE = ("cat", IPVS_TABLE)
IPSETS = ("ipset", "save")
NAT_RULES = ("iptables-save", "--table", "nat")
IPVS_CONNECTIONS = ("cat", "/proc/net/ip_vs_conn")
DUMMY = ("ip", "-json", "address", "show", "dev", IPVS_LINK)
#: The set that a rule's address must be in; of external addresses it depends on the policy.
_SETS = {
    "cluster": "KUBE-CLUSTER-IP",
    "node": "KUBE-NODE-PORT-{protocol}",
    "loadbalancer": "KUBE-LOAD-BALANCER",
}
#: The further set of what keeps its client's address, under externalTrafficPolicy: Local.
_LOCAL_SETS = {
    "node": "KUBE-NODE-PORT-LOCAL-{protocol}",
    "loadbalancer": "KUBE-LOAD-BALANCER-LOCAL",
}
#: Ticks a second that a Linux kernel may have (CONFIG_HZ).
TICK_RATES = (100, 250, 300, 1000)
#: Seconds of sessionAffinity: ClientIP where the Service names none.
DEFAULT_AFFINITY = 10800
#: Of an address that no Service of the API has.
NOBODY = Owner(PortName("", "", ""), "cluster")


def read_ipvs(cluster: Cluster, node_name: str) -> tuple[ServiceRule, ...]:
    """What a node's kernel does with packets to Services, in IPVS mode.

    kube-proxy writes table, link and sets one after the other, of one Service after the other: what
    does not fit together is read again.

    Raises:
        RulesUnreadable: the node's table is not as kube-proxy writes it, for `rules_programmed`.
        InfrastructureError: the node can't be asked.
    """
    # By the probe there: two commands in the node's container take twenty times as long.
    (probe,) = [each for each in cluster.node_vantages if each.name == node_name]

    def read() -> tuple[ServiceRule, ...]:
        known = service_addresses(cluster.client)
        # kube-proxy gives a Service its server first, the address on the link a moment later.
        table = probe.read_file(IPVS_TABLE)
        held = frozenset(probe.interfaces().links.get(IPVS_LINK, ()))
        return ipvs_rules(table, held, known)

    try:
        return eventually(
            read,
            lambda rules: True,
            deadline=deadlines.current().rules_programmed,
            expecting=f"{IPVS_TABLE} of {node_name} to fit the Services of the API",
            asked_from=node_name,
            retry_on=(RulesUnreadable,),
        )
    except NotProved as error:
        raise RulesUnreadable(IPVS_TABLE, str(error)) from error


def missing_in_sets(
    rules: Iterable[ServiceRule], saved: str, nat: str, *, local: bool = False
) -> tuple[str, ...]:
    """What is not there yet for some rules, beside the table: each as "SET ENTRY" or in words.

    kube-proxy writes its sets after the table, and after them the rule that asks a set which was
    empty till then (`syncProxyRules`). Until that nothing is masqueraded that must be, and
    connections from outside or from the node itself are lost.

    Args:
        rules: of the node, with backends.
        saved: the output of `ipset save` there.
        nat: the output of `iptables-save --table nat` there.
        local: their Service has externalTrafficPolicy: Local. In ipvs mode only these sets tell on
            a node without a Pod that the policy has got there.

    Raises:
        RulesUnreadable: the first text is something else.
    """
    sets = {each.name: each.entries for each in parse_sets(saved)}
    missing = []
    for rule in rules:
        if not rule.backends or rule.protocol == "SCTP" or rule.kind not in _SETS:
            continue
        entry = (
            str(rule.port)
            if rule.kind == "node"
            else f"{rule.ip},{rule.protocol.lower()}:{rule.port}"
        )
        wanted = [_SETS[rule.kind]]
        if local and rule.kind in _LOCAL_SETS:
            wanted.append(_LOCAL_SETS[rule.kind])
        for name in (each.format(protocol=rule.protocol) for each in wanted):
            if entry not in sets.get(name, ()):
                missing.append(f"{name} {entry}")
            elif f" --match-set {name} " not in nat:
                missing.append(f"a rule that asks {name}")
    return tuple(missing)


def parse_ipvs(table: str, dummy: str, known: ServiceAddresses) -> tuple[ServiceRule, ...]:
    """Read a node's IPVS rules from what two commands print there.

    Args:
        table: /proc/net/ip_vs.
        dummy: the output of `ip -json address show dev kube-ipvs0`.
        known: whose addresses are whose.

    Raises:
        RulesUnreadable: see `ipvs_rules`; or the second text is not what that command prints.
    """
    return ipvs_rules(table, parse_addresses(dummy), known)


def ipvs_rules(
    table: str, held: frozenset[str], known: ServiceAddresses
) -> tuple[ServiceRule, ...]:
    """A node's IPVS rules.

    What the table has for an address that no Service has is given too, without a name.

    Args:
        table: /proc/net/ip_vs.
        held: the addresses on kube-ipvs0.
        known: whose addresses are whose.

    Raises:
        RulesUnreadable: the table is cut or garbled, an address is not on kube-ipvs0, or the
            addresses of the node do not agree on a node port.
    """
    servers = parse_table(table)
    owners = [_owner(server, held, known) for server in servers]
    rate = tick_rate(servers, owners)
    rules: dict[tuple[str, str, int], ServiceRule] = {}
    for server, owner in zip(servers, owners, strict=True):
        rule = _rule(server, owner, rate)
        if owner.kind != "node" and server.ip not in held:
            raise RulesUnreadable(
                f"/proc/net/ip_vs, {server.ip} port {server.port}/{server.protocol}",
                "kube-ipvs0 lacks the address, so nothing for it gets here",
            )
        key = (rule.protocol, rule.ip, rule.port)
        if rules.setdefault(key, rule) != rule:
            raise RulesUnreadable(
                f"/proc/net/ip_vs, node port {rule.port}/{rule.protocol}",
                f"its backends at {server.ip} are not those at the node's other addresses",
            )
    return in_one_model(rules.values(), ())


def tick_rate(servers: Sequence[VirtualServer], owners: Sequence[Owner]) -> int:
    """How many of the kernel's ticks make a second, from what the Services ask for.

    The kernel shows persistence in ticks and hides their length. What a Service asked for before it
    was patched is there until kube-proxy has heard of it: the API's default explains that, too.

    Raises:
        RulesUnreadable: no rate makes one of the persistent servers what its Service asks for.
    """
    asked = [
        (server.persistent, owner.affinity_seconds)
        for server, owner in zip(servers, owners, strict=True)
        if server.persistent is not None and owner.affinity_seconds
    ]
    fits = {rate: sum(ticks == seconds * rate for ticks, seconds in asked) for rate in TICK_RATES}
    if not any(fits.values()):
        fits = {
            rate: sum(ticks == DEFAULT_AFFINITY * rate for ticks, _ in asked) for rate in TICK_RATES
        }
    best = max(TICK_RATES, key=lambda rate: fits[rate])
    if asked and not fits[best]:
        raise RulesUnreadable(
            "/proc/net/ip_vs",
            "no persistence is what a Service asks for, so its unit can't be told",
            ", ".join(str(ticks) for ticks, _ in asked),
        )
    return best


def _owner(server: VirtualServer, held: frozenset[str], known: ServiceAddresses) -> Owner:
    if owner := known.addresses.get((server.protocol, server.ip, server.port)):
        return owner
    if server.ip not in held:
        return known.node_ports.get((server.protocol, server.port), replace(NOBODY, kind="node"))
    return NOBODY


def _rule(server: VirtualServer, owner: Owner, rate: int) -> ServiceRule:
    # Weight 0 is how kube-proxy lets a terminating Pod finish its connections.
    weights: Mapping[tuple[str, int], int] = {
        (real.ip, real.port): real.weight for real in server.reals if real.weight
    }
    total = sum(weights.values())
    backends = tuple(
        sorted(Backend(ip, port, weight / total) for (ip, port), weight in weights.items())
    )
    seconds = None if server.persistent is None else server.persistent // rate
    return ServiceRule(
        owner.name.namespace,
        owner.name.service,
        owner.name.port_name,
        server.protocol,
        "" if owner.kind == "node" else server.ip,
        server.port,
        owner.kind,
        backends,
        server.scheduler if len(backends) > 1 else "",
        seconds,
        "" if seconds is None else "persistent",
        # Without a real server, IPVS answers with an ICMP error.
        rejects=not backends,
    )
