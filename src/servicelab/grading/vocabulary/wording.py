"""How the words of the vocabulary say what they saw."""

from __future__ import annotations

from collections.abc import Collection

_MOST = 6
_KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet"}


def listed(names: Collection[str], *, none: str = "none") -> str:
    """Names in order, the first few of many."""
    ordered = sorted(names)
    shown = ", ".join(ordered[:_MOST])
    return (f"{shown} and {len(ordered) - _MOST} more" if len(ordered) > _MOST else shown) or none


def counted(count: int, noun: str) -> str:
    """A count with its noun: "1 Pod", "3 Pods"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def whose(of: str) -> str:
    """What a reference to Pods means in a sentence: "the Pods of Deployment web"."""
    kind, _, name = of.rpartition(":")[2].partition("/")
    if kind == "pod":
        return f"Pod {name}"
    return f"the Pods of {_KINDS.get(kind, kind)} {name}"
