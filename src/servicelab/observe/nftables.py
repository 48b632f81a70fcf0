"""kube-proxy's nftables mode: what `nft -j list table ip kube-proxy` prints, as ServiceRules.

The layout is kube-proxy's own (pkg/proxy/nftables/proxier.go of Kubernetes):

- the map service-ips leads from address . protocol . port to a chain
  `service-HASH-NAMESPACE/NAME/PROTOCOL/PORT` (all endpoints), `local-…` (those on this node) or
  `external-…` (from outside); service-nodeports likewise, from protocol . port;
- the `service-…` chain has one dnat (to a `numgen random mod n map` if there are several
  endpoints), or, with session affinity, a vmap of jumps to `endpoint-…__IP/PORT` chains, each of
  which keeps its clients in a set `affinity-…`;
- no-endpoint-services and no-endpoint-nodeports lead to reject-chain or drop; their comments name
  the Service.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from servicelab.observe.rules import (
    Affinity,
    Backend,
    Kind,
    Masquerade,
    ServiceRule,
    UnreadableRules,
)

_CHAIN = re.compile(
    r"(?:service|local|external)-[A-Z2-7]{8}-"
    r"(?P<namespace>[^/]+)/(?P<service>[^/]+)/(?P<protocol>[a-z]+)/(?P<port>[^/]*)"
)
_COMMENT = re.compile(r"(?P<namespace>[^/]+)/(?P<service>[^:]+)(?::(?P<port>.+))?")


@dataclass(slots=True)
class _Table:
    """The table's parts, by name."""

    chains: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    maps: dict[str, list[Any]] = field(default_factory=dict)
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)


def parse_nftables(text: str) -> list[ServiceRule]:
    """Read the rules of every Service.

    Args:
        text: JSON that `nft -j list table ip kube-proxy` printed.

    Raises:
        UnreadableRules: it is not JSON, or not as kube-proxy writes it.
    """
    table = _table(text)
    if "service-ips" not in table.maps:
        raise UnreadableRules("nft's table kube-proxy has no map service-ips")
    try:
        return list(_rules(table))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UnreadableRules(
            f"nft's table kube-proxy is not as kube-proxy writes it: {error!r}"
        ) from error


def _rules(table: _Table) -> Iterator[ServiceRule]:
    cluster_ips = {_value(each) for each in table.sets.get("cluster-ips", {}).get("elem", ())}
    for name in ("service-ips", "service-nodeports"):
        for key, verdict, _ in _elements(table, name):
            chain = _goto(verdict)
            if chain is None:
                raise UnreadableRules(f"nft's map {name} leads nowhere: {json.dumps(verdict)}")
            yield _dispatched(table, key, chain, cluster_ips)
    for name in ("no-endpoint-services", "no-endpoint-nodeports"):
        for key, verdict, comment in _elements(table, name):
            yield _rejected(key, verdict, comment, cluster_ips)


def _table(text: str) -> _Table:
    try:
        objects = json.loads(text)["nftables"]
    except json.JSONDecodeError as error:
        line = (text.splitlines() or [""])[error.lineno - 1]
        raise UnreadableRules(
            f"line {error.lineno} of nft's JSON: {error.msg}: {line[:200]}"
        ) from None
    except (KeyError, TypeError):
        raise UnreadableRules(f"nft's JSON has no list nftables: {text[:200]}") from None
    table = _Table()
    for each in objects:
        for kind, what in each.items():
            if kind == "rule":
                table.chains[what["chain"]].append(what)
            elif kind == "map":
                table.maps[what["name"]] = what.get("elem", [])
            elif kind == "set":
                table.sets[what["name"]] = what
    return table


def _elements(table: _Table, name: str) -> Iterator[tuple[list[Any], Mapping[str, Any], str]]:
    """Key, verdict and comment of each element of a verdict map."""
    for key, verdict in table.maps.get(name, ()):
        comment = ""
        if "elem" in key:
            comment = key["elem"].get("comment", "")
            key = key["elem"]["val"]
        yield list(key["concat"]), verdict, comment


def _dispatched(table: _Table, key: list[Any], chain: str, cluster_ips: set[Any]) -> ServiceRule:
    vip, protocol, port = _key(key)
    named = _CHAIN.fullmatch(chain)
    if named is None:
        raise UnreadableRules(f"nft's chain {chain} is not named as kube-proxy names a Service's")
    kind = _kind(vip, cluster_ips)
    masquerade: Masquerade = "outside" if kind == "cluster" else "no"
    if chain.startswith("external-"):
        lines = table.chains[chain]
        if any(_has(line, "mangle") and not _has(line, "match") for line in lines):
            masquerade = "always"
        ends = [_goto(part) for line in lines for part in line["expr"] if _goto(part)]
        chain = str(ends[-1]) if ends else chain
    backends, affinity = _endpoints(table, chain)
    return ServiceRule(
        namespace=named["namespace"],
        service=named["service"],
        port_name=named["port"],
        protocol=protocol,
        vip=vip,
        port=port,
        kind=kind,
        backends=backends,
        chooser="" if not backends else "only" if len(backends) == 1 else "random",
        affinity=affinity,
        masquerade=masquerade,
    )


def _rejected(
    key: list[Any], verdict: Mapping[str, Any], comment: str, cluster_ips: set[Any]
) -> ServiceRule:
    named = _COMMENT.fullmatch(comment)
    if named is None:
        raise UnreadableRules(f"nft's element {key} names no Service in its comment")
    vip, protocol, port = _key(key)
    return ServiceRule(
        namespace=named["namespace"],
        service=named["service"],
        port_name=named["port"] or "",
        protocol=protocol,
        vip=vip,
        port=port,
        kind=_kind(vip, cluster_ips),
        rejects="drop" if "drop" in verdict else "refuse",
    )


def _key(key: list[Any]) -> tuple[str, str, int]:
    *address, protocol, port = key
    return (str(address[0]) if address else "", str(protocol).upper(), int(port))


def _kind(vip: str, cluster_ips: set[Any]) -> Kind:
    # External and load balancer addresses stand in the same map, under the same names.
    return "node" if not vip else "cluster" if vip in cluster_ips else "external"


def _endpoints(table: _Table, chain: str) -> tuple[tuple[Backend, ...], Affinity | None]:
    for line in table.chains.get(chain, ()):
        for part in line["expr"]:
            if "dnat" in part:
                return _dnat(part["dnat"], chain), None
            if "vmap" in part and "numgen" in part["vmap"]["key"]:
                return _sticky(table, part["vmap"], chain)
    return (), None


def _dnat(dnat: Mapping[str, Any], chain: str) -> tuple[Backend, ...]:
    address = dnat.get("addr")
    if isinstance(address, str):
        return (Backend(address, int(dnat["port"])),)
    try:
        numgen, targets = address["map"]["key"]["numgen"], address["map"]["data"]["set"]  # type: ignore[index]
        _check_random(numgen, len(targets), chain)
        return tuple(
            Backend(str(ip), int(port), 1 / numgen["mod"])
            for ip, port in (target["concat"] for _, target in targets)
        )
    except (KeyError, TypeError, ValueError):
        raise UnreadableRules(
            f"nft's chain {chain} has a dnat that kube-proxy does not write: {json.dumps(dnat)}"
        ) from None


def _sticky(
    table: _Table, vmap: Mapping[str, Any], chain: str
) -> tuple[tuple[Backend, ...], Affinity]:
    targets = vmap["data"]["set"]
    _check_random(vmap["key"]["numgen"], len(targets), chain)
    backends: list[Backend] = []
    seconds = 0
    for _, verdict in targets:
        endpoint = _goto(verdict) or ""
        found, _ = _endpoints(table, endpoint)
        if len(found) != 1:
            raise UnreadableRules(f"nft's chain {chain} jumps to {endpoint!r}, which has no dnat")
        backends.append(Backend(found[0].ip, found[0].port, 1 / len(targets)))
        remembered = table.sets.get(f"affinity-{endpoint.removeprefix('endpoint-')}", {})
        seconds = int(remembered.get("timeout", 0))
    return tuple(backends), Affinity(seconds, "set")


def _check_random(numgen: Mapping[str, Any], targets: int, chain: str) -> None:
    if numgen.get("mode") != "random" or numgen.get("mod") != targets:
        raise UnreadableRules(
            f"nft's chain {chain} chooses one of {targets} backends by {json.dumps(numgen)}"
        )


def _has(line: Mapping[str, Any], what: str) -> bool:
    return any(what in part for part in line["expr"])


def _goto(verdict: Mapping[str, Any]) -> str | None:
    for kind in ("goto", "jump"):
        if kind in verdict:
            return str(verdict[kind]["target"])
    return None


def _value(element: Any) -> Any:
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element
