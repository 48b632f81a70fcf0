"""The JSON of nft -j list table: sets, maps and chains by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from servicelab.observe.unreadable import RulesUnreadable


@dataclass(frozen=True, slots=True)
class NftTable:
    """kube-proxy's table: set and map objects, and each chain's statements, rule by rule.

    Attributes:
        sets: set objects by name.
        maps: map objects by name.
        chains: each chain's rules, each as its statements.
        handles: the numbers that the kernel knows those rules by, in the same order.
    """

    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    maps: dict[str, dict[str, Any]] = field(default_factory=dict)
    chains: dict[str, list[list[dict[str, Any]]]] = field(default_factory=dict)
    handles: dict[str, list[int]] = field(default_factory=dict)

    def elements(self, kind: str, name: str) -> list[Any]:
        """The elements of a set or map kube-proxy always makes."""
        objects = self.sets if kind == "set" else self.maps
        if name not in objects:
            raise RulesUnreadable(f"nft {kind} {name}", "it is missing")
        elements = objects[name].get("elem", [])
        if not isinstance(elements, list):
            raise RulesUnreadable(f"nft {kind} {name}", "its elements aren't a list", elements)
        return elements

    def verdicts(self, name: str, *, where: str) -> list[tuple[list[Any], str, dict[str, Any]]]:
        """The elements of a verdict map: the key's parts, the comment, the verdict.

        Raises:
            RulesUnreadable: an element has another form.
        """
        found: list[tuple[list[Any], str, dict[str, Any]]] = []
        for element in self.elements("map", name):
            match element:
                case [
                    {"elem": {"val": {"concat": [*key]}, "comment": str(comment)}},
                    dict(verdict),
                ]:
                    found.append((key, comment, verdict))
                case [{"concat": [*key]}, dict(verdict)]:
                    found.append((key, "", verdict))
                case _:
                    raise RulesUnreadable(where, "not a key and a verdict", element)
        return found


def read_table(text: str) -> NftTable:
    """Read the output of `nft -j list table ip kube-proxy`.

    Raises:
        RulesUnreadable: it isn't JSON, another table's, or a rule's chain is missing.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise RulesUnreadable(f"nft's JSON, line {error.lineno}", error.msg) from None
    except RecursionError:
        raise RulesUnreadable("nft's JSON", "nested too deeply") from None
    match document:
        case {"nftables": [*objects]}:
            pass
        case _:
            raise RulesUnreadable("nft's JSON", "no list of nftables objects", text[:80])
    table = NftTable()
    named = False
    for place, item in enumerate(objects):
        where = f"nft object {place}"
        match item:
            case {"metainfo": _}:
                pass
            case {"table": {"family": "ip" | "ip6", "name": "kube-proxy"}}:
                named = True
            case {"set": {"table": "kube-proxy", "name": str(name)} as body}:
                _add(table.sets, name, body, where)
            case {"map": {"table": "kube-proxy", "name": str(name)} as body}:
                _add(table.maps, name, body, where)
            case {"chain": {"table": "kube-proxy", "name": str(name)}}:
                _add(table.chains, name, [], where)
            case {
                "rule": {
                    "table": "kube-proxy",
                    "chain": str(name),
                    "expr": [*statements],
                    **more,
                }
            } if name in table.chains and all(isinstance(s, dict) for s in statements):
                table.chains[name].append(statements)
                handle = more.get("handle")
                table.handles.setdefault(name, []).append(handle if isinstance(handle, int) else 0)
            case _:
                raise RulesUnreadable(where, "not an object of the table kube-proxy", item)
    if not named:
        raise RulesUnreadable("nft's JSON", "the table kube-proxy is missing")
    return table


def _add(objects: dict[str, Any], name: str, body: Any, where: str) -> None:
    if name in objects:
        raise RulesUnreadable(where, f"a second {name}")
    objects[name] = body
