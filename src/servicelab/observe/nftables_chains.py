"""The chains of one Service's port in kube-proxy's nftables mode, from external- to endpoint-."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from servicelab.observe.nftables_table import NftTable
from servicelab.observe.port_rules import (
    Choice,
    PortName,
    address,
    port_name,
    port_number,
    protocol,
)
from servicelab.observe.unreadable import RulesUnreadable

_CHAIN = re.compile(r"[a-z]+-[A-Z2-7]{8}-([^/]+)/([^/]+)/(tcp|udp|sctp)/([^/_]*)(?:__(.+)/(\d+))?")
_FROM = {"payload": {"protocol": "ip", "field": "saddr"}}
_CHOOSERS = {"random": "random", "inc": "rr"}
# Names longer than nft allows are cut at the end; what is left still begins with the Service.
_CUT = "..."


@dataclass(frozen=True, slots=True)
class ChainName:
    """What a chain's name says: whose it is, and for an endpoint's chain the endpoint."""

    name: PortName
    protocol: str
    endpoint: tuple[str, int] | None = None


def chain_name(chain: str) -> ChainName:
    """Read a name such as service-ULMVA6XW-ns1/svc1/tcp/p80."""
    where = f"nft chain {chain}"
    match = _CHAIN.fullmatch(chain)
    if match is None:
        raise RulesUnreadable(where, "not the name of a Service's chain")
    namespace, service, protocol, port, ip, ip_port = match.groups()
    name = port_name(f"{namespace}/{service}" + (f":{port}" if port else ""), where)
    endpoint = (ip, port_number(ip_port, where)) if ip else None
    return ChainName(name, protocol, endpoint)


class NftChains:
    """Follows a table's chains, and notes which were come by."""

    def __init__(self, table: NftTable) -> None:
        self._table = table
        self._used: set[str] = set()

    def check_all_used(self) -> None:
        """Raise RulesUnreadable if a chain leads somewhere, but nothing leads to it.

        kube-proxy empties such chains before it deletes them.
        """
        for chain, rules in self._table.chains.items():
            if "/" in chain and rules and chain not in self._used:
                raise RulesUnreadable(f"nft chain {chain}", "nothing leads to it")

    def service(self, chain: str, owner: ChainName) -> Choice:
        """A service- or local- chain: all endpoints, or those on this node."""
        where = f"nft chain {chain}"
        rules = self._enter(chain, owner, "service-", "local-")
        match rules:
            case [[spoken, {"dnat": {"addr": str(ip), "port": port}}]]:
                _check_protocol(spoken, owner, where)
                return Choice(((address(ip, where), port_number(port, where)),), "random")
            case [[spoken, {"dnat": {"addr": {"map": {"key": key, "data": data}}}}]]:
                _check_protocol(spoken, owner, where)
                chooser, values = _numbered(key, data, where)
                endpoints = tuple(_endpoint(value, where) for value in values)
                _check_distinct(endpoints, where)
                return Choice(endpoints, chooser)
            case [*affinity, [{"vmap": {"key": key, "data": data}}]]:
                chooser, values = _numbered(key, data, where)
                chains = [_goto(value, where) for value in values]
                return self._sticky(affinity, chains, chooser, owner, where)
        raise RulesUnreadable(where, "neither a dnat nor a choice of endpoints", rules)

    def external(self, chain: str, owner: ChainName) -> Choice:
        """An external- chain, for a client outside the cluster: its last, unconditional goto."""
        where = f"nft chain {chain}"
        found: Choice | None = None
        for rule in self._enter(chain, owner, "external-"):
            if found is not None:
                raise RulesUnreadable(where, "a rule after the last goto", rule)
            match rule:
                case [{"mangle": _}] | [{"match": _}, {"mangle": _}]:
                    pass
                case [{"match": _}, {"goto": {"target": str(target)}}]:
                    self.service(target, owner)
                case [{"goto": {"target": str(target)}}]:
                    found = self.service(target, owner)
                case _:
                    raise RulesUnreadable(where, "unknown rule", rule)
        return found or Choice()

    def firewall(self, chain: str, owner: ChainName) -> None:
        """A firewall- chain: drops clients outside the loadBalancerSourceRanges."""
        match self._enter(chain, owner, "firewall-"):
            case [[{"match": {"op": "!=", "left": left}}, {"drop": None}]] if left == _FROM:
                return
        raise RulesUnreadable(f"nft chain {chain}", "not the drop of other sources")

    def _sticky(
        self, rules: list[Any], chains: list[str], chooser: str, owner: ChainName, where: str
    ) -> Choice:
        """Affinity: a set of clients and a chain for each endpoint."""
        remembered: list[str] = []
        seconds: set[int] = set()
        for rule in rules:
            match rule:
                case [
                    {"match": {"op": "==", "left": left, "right": str(clients)}},
                    {"goto": {"target": str(target)}},
                ] if left == _FROM:
                    remembered.append(target)
                    seconds.add(self._timeout(clients, target))
                case _:
                    raise RulesUnreadable(where, "not a rule of session affinity", rule)
        if remembered != chains or len(seconds) != 1:
            raise RulesUnreadable(where, "affinity and choice differ in their endpoints or seconds")
        endpoints = tuple(self._endpoint_chain(chain, owner) for chain in chains)
        _check_distinct(endpoints, where)
        return Choice(endpoints, chooser, seconds.pop(), "set")

    def _endpoint_chain(self, chain: str, owner: ChainName) -> tuple[str, int]:
        where = f"nft chain {chain}"
        match self._enter(chain, owner, "endpoint-"):
            case [
                [{"set": {"op": "update", "elem": client, "set": str(clients)}}],
                [spoken, {"dnat": {"addr": str(ip), "port": port}}],
            ] if client == _FROM:
                _check_protocol(spoken, owner, where)
                self._timeout(clients, chain)
                endpoint = (address(ip, where), port_number(port, where))
            case rules:
                raise RulesUnreadable(where, "not a client's set and a dnat", rules)
        said = chain_name(chain).endpoint if not chain.endswith(_CUT) else None
        if said is not None and said != (endpoint[0].replace(":", "."), endpoint[1]):
            raise RulesUnreadable(where, "its dnat is not the endpoint it is named after", endpoint)
        return endpoint

    def _timeout(self, clients: str, chain: str) -> int:
        """The seconds of the set that goes with an endpoint's chain."""
        name = clients.removeprefix("@")
        where = f"nft set {name}"
        if name.removeprefix("affinity-") != chain.removeprefix("endpoint-"):
            raise RulesUnreadable(where, f"not the clients of {chain}")
        seconds = self._table.sets.get(name, {}).get("timeout")
        if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds <= 0:
            raise RulesUnreadable(where, "it has no time-out in seconds", seconds)
        return seconds

    def _enter(self, chain: str, owner: ChainName, *prefixes: str) -> list[Any]:
        where = f"nft chain {chain}"
        if not chain.startswith(prefixes) or chain not in self._table.chains:
            raise RulesUnreadable(where, f"it isn't one of {', '.join(prefixes)} in this table")
        if not chain.endswith(_CUT):
            said = chain_name(chain)
            if (said.name, said.protocol) != (owner.name, owner.protocol):
                raise RulesUnreadable(where, f"not a chain of {owner.name}/{owner.protocol}")
        self._used.add(chain)
        return self._table.chains[chain]


def _numbered(key: object, data: object, where: str) -> tuple[str, list[Any]]:
    """The chooser, and the values of a map from numgen's numbers: each number once."""
    match key, data:
        case {"numgen": {"mode": str(mode), "mod": int(mod), **more}}, {"set": [*pairs]} if (
            mode in _CHOOSERS and not more.get("offset")
        ):
            values: list[Any] = []
            for number, pair in enumerate(pairs):
                match pair:
                    case [int(said), value] if said == number:
                        values.append(value)
                    case _:
                        raise RulesUnreadable(where, f"not choice {number} of {mod}", pair)
            if values and len(values) == mod:
                return _CHOOSERS[mode], values
    raise RulesUnreadable(where, "not a choice among as many as there are", key)


def _endpoint(value: object, where: str) -> tuple[str, int]:
    match value:
        case {"concat": [str(ip), port]}:
            return address(ip, where), port_number(port, where)
    raise RulesUnreadable(where, "not an address and a port", value)


def _goto(value: object, where: str) -> str:
    match value:
        case {"goto": {"target": str(chain)}}:
            return chain
    raise RulesUnreadable(where, "not a goto", value)


def _check_protocol(statement: object, owner: ChainName, where: str) -> None:
    left = {"meta": {"key": "l4proto"}}
    match statement:
        case {"match": {"op": "==", "left": seen, "right": right, **more}} if (
            seen == left and not more and protocol(right, where) == owner.protocol
        ):
            return
    raise RulesUnreadable(where, f"not a match of {owner.protocol}", statement)


def _check_distinct(endpoints: tuple[tuple[str, int], ...], where: str) -> None:
    if len(set(endpoints)) != len(endpoints):
        raise RulesUnreadable(where, "an endpoint twice", endpoints)
