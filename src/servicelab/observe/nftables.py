"""kube-proxy's rules in its nftables mode, as nft -j list table ip kube-proxy shows them.

The forms are those of Kubernetes v1.37.0, pkg/proxy/nftables/proxier.go, in nft 1.0's JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from servicelab.observe.model import Kind, ServiceRule
from servicelab.observe.nftables_chains import NftChains, chain_name
from servicelab.observe.nftables_table import NftTable, read_table
from servicelab.observe.port_rules import (
    Match,
    address,
    in_one_model,
    port_name,
    port_number,
    protocol,
)
from servicelab.observe.unreadable import RulesUnreadable

_REJECT_CHAIN = "reject-chain"
# The chains packets come through, and what each must lead to.
_HOOKS = (
    ("nat-prerouting", "services"),
    ("nat-output", "services"),
    ("filter-input", "nodeport-endpoints-check"),
    ("filter-input", "service-endpoints-check"),
    ("filter-forward", "service-endpoints-check"),
    ("filter-output", "service-endpoints-check"),
)
_LOOKUPS = (
    ("services", "service-ips"),
    ("services", "service-nodeports"),
    ("service-endpoints-check", "no-endpoint-services"),
    ("nodeport-endpoints-check", "no-endpoint-nodeports"),
)


def parse_nftables(text: str) -> tuple[ServiceRule, ...]:
    """Read the output of `nft -j list table ip kube-proxy` of a node.

    Raises:
        RulesUnreadable: the text is cut or garbled, or a Service's chain leads somewhere
            unknown.
    """
    table = read_table(text)
    _check_hooks(table)
    cluster_ips = _cluster_ips(table)
    chains = NftChains(table)
    balancers = dict(_firewalls(table, chains))
    forwarded = [
        *_forwarded(table, "service-ips", cluster_ips, balancers, chains),
        *_forwarded(table, "service-nodeports", cluster_ips, balancers, chains),
    ]
    refused = [
        *_refused(table, "no-endpoint-services", cluster_ips, balancers),
        *_refused(table, "no-endpoint-nodeports", cluster_ips, balancers),
    ]
    chains.check_all_used()
    return in_one_model(forwarded, refused)


_Key = tuple[str, str, int]


def _forwarded(
    table: NftTable,
    name: str,
    cluster_ips: frozenset[str],
    balancers: dict[_Key, str],
    chains: NftChains,
) -> Iterator[ServiceRule]:
    where = f"nft map {name}"
    for parts, _, verdict in table.verdicts(name, where=where):
        key = _key(parts, name, where)
        match verdict:
            case {"goto": {"target": str(chain)}}:
                owner = chain_name(chain)
            case _:
                raise RulesUnreadable(where, "not a goto", verdict)
        kind = _kind(key, cluster_ips, balancers)
        if key[0] != owner.protocol:
            raise RulesUnreadable(where, f"leads from {key[0]} to {chain}")
        choice = (
            chains.service(chain, owner) if kind == "cluster" else chains.external(chain, owner)
        )
        yield Match(owner.name, key[0], key[1], key[2], kind).rule(choice)


def _refused(
    table: NftTable, name: str, cluster_ips: frozenset[str], balancers: dict[_Key, str]
) -> Iterator[ServiceRule]:
    where = f"nft map {name}"
    for parts, comment, verdict in table.verdicts(name, where=where):
        key = _key(parts, name, where)
        kind = _kind(key, cluster_ips, balancers)
        rule = Match(port_name(comment, where), key[0], key[1], key[2], kind).rule()
        match verdict:
            case {"goto": {"target": "reject-chain"}}:
                yield replace(rule, rejects=True)
            case {"drop": None}:
                yield replace(rule, drops=True)
            case _:
                raise RulesUnreadable(where, "neither a reject nor a drop", verdict)


def _firewalls(table: NftTable, chains: NftChains) -> Iterator[tuple[_Key, str]]:
    where = "nft map firewall-ips"
    for parts, _, verdict in table.verdicts("firewall-ips", where=where):
        match verdict:
            case {"goto": {"target": str(chain)}}:
                chains.firewall(chain, chain_name(chain))
                yield _key(parts, "firewall-ips", where), chain
            case _:
                raise RulesUnreadable(where, "not a goto", verdict)


def _key(parts: list[Any], name: str, where: str) -> _Key:
    """A map's key, as protocol, address (empty for a node port) and port."""
    match name.endswith("nodeports"), parts:
        case True, [l4, port]:
            return protocol(l4, where), "", port_number(port, where)
        case False, [ip, l4, port]:
            return protocol(l4, where), address(ip, where), port_number(port, where)
    raise RulesUnreadable(where, "not the key of a Service", parts)


def _kind(key: _Key, cluster_ips: frozenset[str], balancers: dict[_Key, str]) -> Kind:
    if not key[1]:
        return "node"
    if key[1] in cluster_ips:
        return "cluster"
    return "loadbalancer" if key in balancers else "external"


def _cluster_ips(table: NftTable) -> frozenset[str]:
    where = "nft set cluster-ips"
    return frozenset(address(ip, where) for ip in table.elements("set", "cluster-ips"))


def _check_hooks(table: NftTable) -> None:
    for chain, target in _HOOKS:
        rules = table.chains.get(chain, [])
        if target not in table.chains or not any(
            rule[-1:] == [{"jump": {"target": target}}] for rule in rules
        ):
            raise RulesUnreadable(f"nft chain {chain}", f"nothing in it leads to {target}")
    for chain, name in _LOOKUPS:
        rules = table.chains.get(chain, [])
        if not any(_looks_up(rule[-1:], name) for rule in rules):
            raise RulesUnreadable(f"nft chain {chain}", f"it doesn't look into {name}")
    match table.chains.get(_REJECT_CHAIN):
        case [[{"reject": _}]]:
            return
    raise RulesUnreadable(f"nft chain {_REJECT_CHAIN}", "it doesn't reject")


def _looks_up(statements: list[dict[str, Any]], name: str) -> bool:
    match statements:
        case [{"vmap": {"data": str(data)}}]:
            return data == f"@{name}"
    return False
