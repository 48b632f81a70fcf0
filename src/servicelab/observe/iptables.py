"""kube-proxy's rules in its iptables mode, as iptables-save shows them.

The forms are those of Kubernetes v1.37.0, pkg/proxy/iptables/proxier.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

from servicelab.observe.iptables_chains import Chains, check
from servicelab.observe.iptables_save import Line, Table, read_tables
from servicelab.observe.model import Kind, ServiceRule
from servicelab.observe.port_rules import (
    Choice,
    Match,
    PortName,
    in_one_model,
    port_name,
    port_number,
    protocol,
)
from servicelab.observe.unreadable import RulesUnreadable

_KINDS: dict[str, Kind] = {
    " cluster IP": "cluster",
    " external IP": "external",
    " loadbalancer IP": "loadbalancer",
}
_NO_ENDPOINTS = " has no endpoints"
_NO_LOCAL_ENDPOINTS = " has no local endpoints"
# The built-in chains packets come through, and kube-proxy's chain each must lead to.
_HOOKS = {
    "nat": (("PREROUTING", "KUBE-SERVICES"), ("OUTPUT", "KUBE-SERVICES")),
    "filter": (
        ("FORWARD", "KUBE-SERVICES"),
        ("OUTPUT", "KUBE-SERVICES"),
        ("INPUT", "KUBE-EXTERNAL-SERVICES"),
        ("FORWARD", "KUBE-EXTERNAL-SERVICES"),
    ),
}


def parse_iptables(text: str) -> tuple[ServiceRule, ...]:
    """Read iptables-save's output (all tables) of a node.

    Raises:
        RulesUnreadable: the text is cut or garbled, a Service's chain leads somewhere
            unknown, or kube-proxy has written no iptables here.
    """
    tables = read_tables(text)
    for name, hooks in _HOOKS.items():
        if name not in tables:
            raise RulesUnreadable(f"iptables table {name}", "it is missing")
        for chain, target in hooks:
            tables[name].lines(target)
            if not any(s.text.endswith(f" -j {target}") for s in tables[name].lines(chain)):
                raise RulesUnreadable(
                    f"iptables table {name}", f"nothing in {chain} leads to {target}"
                )
    chains = Chains(tables["nat"])
    forwarded = [*_addresses(tables["nat"], chains), *_node_ports(tables["nat"], chains)]
    chains.check_all_used()
    return in_one_model(forwarded, _refusals(tables["filter"]))


def _addresses(nat: Table, chains: Chains) -> Iterator[ServiceRule]:
    lines = nat.lines("KUBE-SERVICES")
    last_rule = False
    for line in lines:
        options = line.options()
        target = options.get("-j", "")
        if target == "KUBE-NODEPORTS":
            check(line, options, {"-j", "--comment"}, {"--dst-type", "-d", "! -d"})
            last_rule = True
            continue
        check(line, options, {"-d", "-p", "--comment", "--dport", "-j"})
        name, kind = _named(line, options["--comment"])
        match = Match(
            name,
            protocol(options["-p"], line.where),
            _one_address(line, options["-d"]),
            port_number(options["--dport"], line.where),
            kind,
        )
        yield match.rule(_reached(line, target, match, chains))
    if not last_rule:
        raise RulesUnreadable("iptables chain KUBE-SERVICES", "nothing leads to KUBE-NODEPORTS")


def _reached(line: Line, target: str, match: Match, chains: Chains) -> Choice:
    if match.kind == "cluster":
        return chains.service(line, target, match)
    if match.kind == "loadbalancer" and target.startswith("KUBE-FW-"):
        return chains.firewall(line, target, match)
    return chains.external(line, target, match)


def _node_ports(nat: Table, chains: Chains) -> Iterator[ServiceRule]:
    # A port may have a rule of its own for loopback addresses, only to count its packets.
    targets: dict[tuple[str, str], str] = {}
    counted: dict[tuple[str, str], Line] = {}
    for line in nat.lines("KUBE-NODEPORTS"):
        options = line.options()
        check(line, options, {"-p", "--comment", "--dport", "-j"}, {"-d", "--nfacct-name"})
        key = (options["-p"], options["--dport"])
        if "-d" in options or "--nfacct-name" in options:
            if options.get("-d") != "127.0.0.0/8":
                raise line.unreadable("a node port's rule for an address other than loopback")
            counted[key] = line
            targets.setdefault(key, options["-j"])
            if targets[key] != options["-j"]:
                raise line.unreadable("leads elsewhere than the port's other rule")
            continue
        if targets.get(key, options["-j"]) != options["-j"]:
            raise line.unreadable("leads elsewhere than the port's rule for loopback")
        counted.pop(key, None)
        match = Match(
            port_name(options["--comment"], line.where),
            protocol(options["-p"], line.where),
            "",
            port_number(options["--dport"], line.where),
            "node",
        )
        yield match.rule(chains.external(line, options["-j"], match))
    for line in counted.values():
        raise line.unreadable("there is no rule for this node port on other addresses")


def _refusals(table: Table) -> Iterator[ServiceRule]:
    for chain in ("KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES"):
        for line in table.lines(chain):
            options = line.options()
            node = "--dst-type" in options
            check(
                line,
                options,
                {"-p", "--comment", "--dport", "-j", "--dst-type" if node else "-d"},
                {"--reject-with"},
            )
            verdict, comment = options["-j"], options["--comment"]
            rejects = verdict == "REJECT" and comment.endswith(_NO_ENDPOINTS)
            drops = verdict == "DROP" and comment.endswith(_NO_LOCAL_ENDPOINTS)
            if not (rejects or drops):
                raise line.unreadable("neither a REJECT nor a DROP with its reason")
            reason = _NO_ENDPOINTS if rejects else _NO_LOCAL_ENDPOINTS
            kind: Kind = "cluster" if chain == "KUBE-SERVICES" else "external"
            match = Match(
                port_name(comment.removesuffix(reason), line.where),
                protocol(options["-p"], line.where),
                "" if node else _one_address(line, options["-d"]),
                port_number(options["--dport"], line.where),
                "node" if node else kind,
            )
            yield replace(match.rule(), rejects=rejects, drops=drops)


def _named(line: Line, comment: str) -> tuple[PortName, Kind]:
    for suffix, kind in _KINDS.items():
        if comment.endswith(suffix):
            return port_name(comment.removesuffix(suffix), line.where), kind
    raise line.unreadable("the comment doesn't say whose address it is")


def _one_address(line: Line, text: str) -> str:
    try:
        network = ip_network(text)
    except ValueError:
        raise line.unreadable("-d is not an address") from None
    if network.num_addresses != 1:
        raise line.unreadable("-d is more than one address")
    return str(network.network_address)
