"""Conditions of nftables in a learner's words."""

from __future__ import annotations

from typing import Any

from servicelab.trace.packet import Packet

_SETS = {
    "cluster-ips": "a Service's address",
    "nodeport-ips": "an address of the node that takes node ports",
    "hairpin-connections": "a Pod that is sent back to itself",
}


def matched_words(condition: dict[str, Any], packet: Packet) -> str:
    """Why a packet matched a `match` statement; "" for what goes without saying."""
    negated = condition.get("op") == "!="
    right = condition.get("right")
    match condition.get("left"):
        case {"payload": {"field": "saddr" | "daddr" as field}}:
            end, ip = (
                ("source", packet.source)
                if field == "saddr"
                else ("destination", packet.destination)
            )
            return f"{end} {ip} {'not ' if negated else ''}{_among(right)}"
        case {"payload": {"field": "dport"}}:
            return f"port {packet.port}"
        case {"fib": {"flags": flags}}:
            ip = packet.source if "saddr" in flags else packet.destination
            return f"{ip} is {'no' if negated else 'an'} address of the node itself"
        case {"ct": {"key": "state"}}:
            return "the first packet of its connection"
        case {"&": _} | {"meta": {"key": "mark"}}:
            return "it has the mark 0x4000"
        case {"concat": _} if isinstance(right, str):
            return _SETS.get(right.removeprefix("@"), f"in the set {right.removeprefix('@')}")
    return ""


def _among(right: Any) -> str:
    match right:
        case str(name) if name.startswith("@affinity-"):
            return "came here not long ago, and is remembered"
        case str(name) if name.startswith("@"):
            bare = name.removeprefix("@")
            return f"is {_SETS[bare]}" if bare in _SETS else f"in the set {bare}"
        case {"prefix": {"addr": addr, "len": length}}:
            return f"in {addr}/{length}"
        case {"set": _}:
            return "in the ranges that are listed"
    return f"is {right}"
