"""Does a packet match a statement of kube-proxy's nftables rules?"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from servicelab.observe.nftables_table import NftTable
from servicelab.observe.unreadable import RulesUnreadable
from servicelab.trace.packet import Packet

_ADDRESSES = {"saddr": "source", "daddr": "destination"}
_NUMBERS = {"tcp": 6, "udp": 17}


def where_of(chain: str, handle: int) -> str:
    """How a message calls a rule."""
    return f"nft chain {chain}, rule with handle {handle}" if handle else f"nft chain {chain}"


def matches(condition: dict[str, Any], packet: Packet, table: NftTable, where: str) -> bool:
    """Whether a packet matches a `match` statement.

    Raises:
        RulesUnreadable: it is of a form that kube-proxy is not known to write.
    """
    match condition:
        case {"op": "in", "left": {"ct": {"key": "state"}}, "right": right}:
            return "new" in _listed(right)  # a connection's first packet
        case {"op": "in", "left": {"ct": {"key": "status"}}, "right": right}:
            return packet.translated and "dnat" in _listed(right)
        case {"op": "==" | "!=" as op, "left": left, "right": right}:
            value = _value(left, packet, where)
            return _equal(value, right, table, where) is (op == "==")
    raise RulesUnreadable(where, "not a condition that is known on a packet's way", condition)


def key_of(key: Any, packet: Packet, where: str) -> list[Any]:
    """A map's key, as the packet has it.

    Raises:
        RulesUnreadable: it is of a form that kube-proxy is not known to write.
    """
    value = _value(key, packet, where)
    return value if isinstance(value, list) else [value]


def same_key(parts: list[Any], wanted: list[Any]) -> bool:
    """Whether a map's key is the wanted one; it may have a protocol's number for its name."""
    return len(parts) == len(wanted) and all(
        part == want or (want in _NUMBERS and part == _NUMBERS[want])
        for part, want in zip(parts, wanted, strict=True)
    )


def _value(left: Any, packet: Packet, where: str) -> Any:
    match left:
        case {"payload": {"protocol": "ip", "field": "saddr" | "daddr" as field}}:
            return getattr(packet, _ADDRESSES[field])
        case {"payload": {"protocol": "th" | "tcp" | "udp" as spoken, "field": "dport"}}:
            return packet.port if spoken in ("th", packet.protocol) else None
        case {"meta": {"key": "l4proto"}}:
            return packet.protocol
        case {"meta": {"key": "mark"}}:
            return packet.mark
        case {"&": [inner, int(bits)]}:
            return _value(inner, packet, where) & bits
        case {"fib": {"result": "type", "flags": flags}} if "saddr" in flags or "daddr" in flags:
            ip = packet.source if "saddr" in flags else packet.destination
            return "local" if packet.is_local(ip) else "unicast"
        case {"concat": [*parts]}:
            return [_value(part, packet, where) for part in parts]
    raise RulesUnreadable(where, "not a part of a packet that is known", left)


def _equal(value: Any, right: Any, table: NftTable, where: str) -> bool:
    match right:
        case str(name) if name.startswith("@"):
            elements = table.elements("set", name.removeprefix("@"))
            return any(_equal(value, _bare(each), table, where) for each in elements)
        case {"set": [*elements]}:
            return any(_equal(value, _bare(each), table, where) for each in elements)
        case {"prefix": {"addr": str(addr), "len": int(length)}}:
            return _in_range(value, addr, length, where)
        case {"concat": [*parts]} if isinstance(value, list) and len(parts) == len(value):
            pairs = zip(value, parts, strict=True)
            return all(_equal(mine, part, table, where) for mine, part in pairs)
        case int() | str() if isinstance(right, int) == isinstance(value, int):
            return bool(value == right)
        case int() if value in _NUMBERS:
            return right == _NUMBERS[value]
        case str():
            return False
    raise RulesUnreadable(where, "not a value that a packet can have", right)


def _in_range(value: Any, addr: str, length: int, where: str) -> bool:
    try:
        return ip_address(value) in ip_network(f"{addr}/{length}")
    except ValueError:
        raise RulesUnreadable(where, "not a range of addresses", f"{addr}/{length}") from None


def _bare(element: Any) -> Any:
    """A set's element without its comment or time-out."""
    match element:
        case {"elem": {"val": value}}:
            return value
    return element


def _listed(right: Any) -> list[Any]:
    return right if isinstance(right, list) else [right]
