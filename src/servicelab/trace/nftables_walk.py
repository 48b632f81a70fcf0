"""A packet's way through kube-proxy's nftables table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from servicelab.observe.nftables_table import NftTable
from servicelab.observe.unreadable import RulesUnreadable
from servicelab.trace.hop import Hop
from servicelab.trace.nftables_match import key_of, matches, same_key, where_of
from servicelab.trace.nftables_words import matched_words
from servicelab.trace.packet import Endpoint, Packet
from servicelab.trace.words import one_of

TABLE = "ip kube-proxy"
_DEEPEST = 16
"""Chains within chains, as nft itself allows; kube-proxy's are four deep."""
_HANDLE = re.compile(r"\s*(.*?) # handle (\d+)$")
_MAP_WORDS = {
    "service-ips": "looks address and port up among all Services",
    "service-nodeports": "looks the port up among all node ports",
    "no-endpoint-services": "looks for Services without endpoints",
    "no-endpoint-nodeports": "looks for node ports without endpoints",
    "firewall-ips": "looks for addresses whose clients are limited",
}
_CHAIN_WORDS = {
    "service-endpoints-check": "looks for Services without endpoints",
    "nodeport-endpoints-check": "looks for node ports without endpoints",
    "cluster-ips-check": "looks for addresses and ports that no Service has",
    "firewall-check": "looks for addresses whose clients are limited",
    "services": "goes through what all Services have in common",
    "masquerading": "sees whether it is to be masqueraded",
    "service": "goes to the Service's chain, with all endpoints",
    "local": "goes to the Service's chain of endpoints on this node",
    "external": "goes to the Service's chain for traffic from outside",
    "endpoint": "goes to that endpoint's chain",
    "firewall": "goes to the load balancer's list of allowed clients",
    "reject-chain": "goes where it is refused",
}


def rule_texts(listing: str) -> dict[int, str]:
    """The rules by their handles, as `nft --handle list table ip kube-proxy` prints them."""
    found: dict[int, str] = {}
    for line in listing.splitlines():
        match = _HANDLE.fullmatch(line)
        if match and not match[1].endswith("{"):
            found[int(match[2])] = match[1]
    return found


@dataclass(slots=True)
class _Outcome:
    """What a rule came to: a verdict, "" if the packet goes on, and hops within."""

    verdict: str = ""
    target: str = ""
    does: str = ""
    because: str = ""


class NftablesWalk:
    """Follows one packet from hook to hook.

    Args:
        table: the node's, as it was before the connection.
        texts: the rules as nft prints them, by handle.
        packet: the packet; it is changed as the rules change it.
        chosen: the endpoint that the kernel's memory of the connection names; None if there is
            none, and chance has not been reached.
    """

    def __init__(
        self, table: NftTable, texts: Mapping[int, str], packet: Packet, chosen: Endpoint | None
    ) -> None:
        self._table = table
        self._texts = texts
        self._packet = packet
        self._chosen = chosen

    def hook(self, chain: str) -> tuple[list[Hop], str]:
        """What a base chain does: the hops, and the verdict, "" if there is none.

        Raises:
            RulesUnreadable: a rule on the way is of a form that kube-proxy is not known to write.
        """
        return self._chain(chain, chain, 0) if chain in self._table.chains else ([], "")

    def _chain(self, hook: str, chain: str, depth: int) -> tuple[list[Hop], str]:
        if depth >= _DEEPEST or chain not in self._table.chains:
            raise RulesUnreadable(f"nft chain {chain}", "it is missing, or leads in a circle")
        hops: list[Hop] = []
        handles = self._table.handles.get(chain, [])
        for place, statements in enumerate(self._table.chains[chain]):
            handle = handles[place] if place < len(handles) else 0
            more, verdict, leaves = self._rule(hook, chain, handle, statements, depth)
            hops += more
            if verdict or leaves:
                return hops, verdict
        return hops, ""

    def _rule(
        self, hook: str, chain: str, handle: int, statements: list[dict[str, Any]], depth: int
    ) -> tuple[list[Hop], str, bool]:
        """The hops of one rule, its verdict, and whether the chain is left with it."""
        where = where_of(chain, handle)
        because: list[str] = []
        doings: list[str] = []
        outcome = _Outcome()
        for statement in statements:
            match statement:
                case {"match": dict(condition)}:
                    if not matches(condition, self._packet, self._table, where):
                        return [], "", False
                    because.append(matched_words(condition, self._packet))
                case {"counter": _} | {"set": {"op": "update"}}:
                    doings += ["remembers the client"] if "set" in statement else []
                case {"mangle": {"value": value}}:
                    doings.append(self._mark(value, where))
                case _:
                    outcome = self._act(statement, where)
                    if not outcome.verdict:
                        return [], "", False  # looked up and not found
                    because.append(outcome.because)
                    doings.append(outcome.does)
        hop = Hop(
            hook.removeprefix("nat-").removeprefix("filter-").removesuffix("-pre-dnat"),
            TABLE,
            chain,
            self._texts.get(handle, ""),
            ", ".join(filter(None, because)) or "every packet that gets here",
            ", and ".join(filter(None, doings)),
            outcome.verdict or "continue",
            handle=handle,
        )
        if outcome.target:
            more, verdict = self._chain(hook, outcome.target, depth + 1)
            leaves = outcome.verdict.startswith("goto ")
            # A jump that came to nothing is no part of the way.
            return ([hop, *more] if more else []), verdict, leaves
        if not outcome.verdict:
            return ([hop] if doings else []), "", False
        if outcome.verdict == "return":
            return [], "", True
        return [hop], outcome.verdict.partition(" ")[0], True

    def _act(self, statement: dict[str, Any], where: str) -> _Outcome:
        match statement:
            case {"jump": {"target": str(target)}}:
                return _Outcome(f"jump {target}", target, _chain_words(target))
            case {"goto": {"target": str(target)}}:
                return _Outcome(f"goto {target}", target, _chain_words(target))
            case {"vmap": {"key": key, "data": str(name)}} if name.startswith("@"):
                return self._look_up(key, name.removeprefix("@"), where)
            case {"vmap": {"key": {"numgen": numgen}, "data": {"set": [*pairs]}}}:
                return self._dice_among_chains(numgen, pairs, where)
            case {"dnat": {"addr": str(ip), "port": int(port)}}:
                return self._send_to(Endpoint(ip, port), "")
            case {
                "dnat": {"addr": {"map": {"key": {"numgen": numgen}, "data": {"set": [*pairs]}}}}
            }:
                return self._dice(numgen, pairs, where)
            case {"masquerade": _}:
                return _Outcome("masquerade", does="gives it the node's own address as its source")
            case {"reject": _}:
                does = "answers with an ICMP error: connection refused"
                return _Outcome("reject", does=does)
            case {"drop": _}:
                return _Outcome("drop", does="drops it: nobody answers")
            case {"accept": _} | {"return": _}:
                word = next(iter(statement))
                return _Outcome(word, does="lets it pass" if word == "accept" else "")
        raise RulesUnreadable(where, "not a statement that is known on a packet's way", statement)

    def _look_up(self, key: Any, name: str, where: str) -> _Outcome:
        wanted = key_of(key, self._packet, where)
        for parts, _, verdict in self._table.verdicts(name, where=f"nft map {name}"):
            if not same_key(parts, wanted):
                continue
            shown = " . ".join(str(part) for part in wanted)
            found = self._act(verdict, f"nft map {name}")
            found.because = f"the map {name} has {shown} : {found.verdict}"
            found.does = f"{_MAP_WORDS.get(name, f'looks into {name}')}, and {found.does}"
            return found
        return _Outcome()

    def _dice(self, numgen: Any, pairs: list[Any], where: str) -> _Outcome:
        for number, pair in enumerate(pairs):
            match pair:
                case [_, {"concat": [str(ip), int(port)]}]:
                    if Endpoint(ip, port) == self._chosen:
                        return self._send_to(self._chosen, _thrown(numgen, number, len(pairs)))
                case _:
                    raise RulesUnreadable(where, "not an address and a port", pair)
        return _Outcome()

    def _dice_among_chains(self, numgen: Any, pairs: list[Any], where: str) -> _Outcome:
        for number, pair in enumerate(pairs):
            match pair:
                case [_, {"goto": {"target": str(target)}}]:
                    if self._chosen and self._sends_to(target) == self._chosen:
                        found = self._act(pair[1], where)
                        found.because = _thrown(numgen, number, len(pairs))
                        return found
                case _:
                    raise RulesUnreadable(where, "not a goto", pair)
        return _Outcome()

    def _sends_to(self, chain: str) -> Endpoint | None:
        for statements in self._table.chains.get(chain, []):
            match statements[-1:]:
                case [{"dnat": {"addr": str(ip), "port": int(port)}}]:
                    return Endpoint(ip, port)
        return None

    def _send_to(self, endpoint: Endpoint, because: str) -> _Outcome:
        self._packet.send_to(endpoint)
        does = f"writes {endpoint} into it as its destination"
        return _Outcome(f"dnat {endpoint}", does=does, because=because)

    def _mark(self, value: Any, where: str) -> str:
        match value:
            case {"|": [{"meta": {"key": "mark"}}, int(bits)]}:
                self._packet.mark |= bits
                return f"writes the mark {bits:#x} on it, to be masqueraded later"
            case {"^": [{"meta": {"key": "mark"}}, int(bits)]}:
                self._packet.mark ^= bits
                return "takes the mark off again"
        raise RulesUnreadable(where, "not a mark that kube-proxy sets", value)


def _thrown(numgen: Any, number: int, sides: int) -> str:
    mode = numgen.get("mode") if isinstance(numgen, dict) else ""
    how = f"a die of {sides} sides fell on" if mode == "random" else "it was the turn of"
    return f"{how} {number}: the {one_of(number + 1, sides)} endpoints"


def _chain_words(chain: str) -> str:
    known = _CHAIN_WORDS.get(chain) or _CHAIN_WORDS.get(chain.partition("-")[0])
    return known or f"goes to {chain}"
