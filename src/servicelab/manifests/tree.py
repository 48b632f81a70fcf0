"""YAML as a tree whose scalars know where they stand in the text.

PyYAML's own composer follows aliases and forgets where they stood, so this one starts from its
events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.reader import Reader

from servicelab.errors import UsageError

_STRING = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
_MERGE = "<<"
# The parser's time grows with the square of the depth; a manifest has some twenty levels.
_DEEPEST = 500
# Each merged list can be merged again, and grow with every line.
_MOST_MERGED = 100_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = yaml.resolver.Resolver()


@dataclass(eq=False, slots=True)
class Node:
    """A part of a document.

    Attributes:
        line: where it begins, counted from 1.
        start: index of its first character in the text.
        end: index after its last one.
    """

    line: int
    start: int
    end: int


@dataclass(eq=False, slots=True)
class Scalar(Node):
    """A value without parts.

    Attributes:
        value: what it says.
        tag: its YAML type.
        definition: the anchored scalar that it repeats, if it is an alias.
    """

    value: str
    tag: str
    definition: Scalar | None = None

    @property
    def is_string(self) -> bool:
        """Whether it is text, not a number, a date, a boolean or nothing."""
        return self.tag == _STRING

    @property
    def is_null(self) -> bool:
        """Whether it says nothing at all."""
        return self.tag == _NULL


@dataclass(eq=False, slots=True)
class Sequence(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Mapping(Node):
    """Keys and values.

    Attributes:
        pairs: as they stand there.
        entries: its keys that are scalars, with their values, then what `<<` merges in beside
            them; a key that stands there twice is there twice.
    """

    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    entries: list[tuple[str, Node]] = field(default_factory=list)

    def get(self, key: str) -> Node | None:
        """The value of a key; None if it has none."""
        return next((value for name, value in self.entries if name == key), None)

    def unfold(self) -> int:
        """Fill in the entries, once all pairs are there; returns how many were merged in."""
        own = [(key.value, value) for key, value in self.pairs if isinstance(key, Scalar)]
        self.entries = [pair for pair in own if pair[0] != _MERGE]
        known = {name for name, _ in own}
        before = len(self.entries)
        for _, merged in (pair for pair in own if pair[0] == _MERGE):
            # What is merged was written before; one that is merged into itself is still empty.
            for each in merged.items if isinstance(merged, Sequence) else [merged]:
                new = each.entries if isinstance(each, Mapping) else []
                self.entries += [pair for pair in new if pair[0] not in known]
                known |= {name for name, _ in new}
        return len(self.entries) - before


def parse(text: str, where: str) -> list[Node]:
    """The documents of a text, empty ones left out.

    Args:
        text: YAML.
        where: what to call it in an error.

    Raises:
        UsageError: it is not YAML.
    """
    if bad := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        raise UsageError(f"{where} line {line} is not YAML: it has a control character in it")
    try:
        return [
            document
            for document in _compose(text, where)
            if not (isinstance(document, Scalar) and document.is_null)
        ]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line_text = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it can't be parsed"
        raise UsageError(f"{where}{line_text} is not YAML: {problem}") from None


def _compose(text: str, where: str) -> Iterator[Node]:
    anchors: dict[str, Node] = {}
    # What is open, outermost first; for a mapping also the key that waits for its value.
    open_nodes: list[tuple[Node, list[Node]]] = []
    root: Node | None = None
    merged = 0
    event: Any
    for event in yaml.parse(text, Loader=_LOADER):
        node: Node
        if isinstance(event, yaml.DocumentStartEvent):
            anchors, root = {}, None
            continue
        if isinstance(event, yaml.DocumentEndEvent):
            if root is not None:
                yield root
            continue
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            ended, _ = open_nodes.pop()
            merged += ended.unfold() if isinstance(ended, Mapping) else 0
            if merged > _MOST_MERGED:
                raise UsageError(
                    f"{where} line {_line(event)}: its merge keys (<<) unfold to more than "
                    f"{_MOST_MERGED} entries, which no manifest's do"
                )
            continue
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise UsageError(
                    f"{where} line {_line(event)} is not YAML: there is no anchor &{event.anchor}"
                )
            node = _repeated(anchors[event.anchor], event)
        elif isinstance(event, yaml.NodeEvent):
            node = _node(event)
            if event.anchor:
                anchors[event.anchor] = node
        else:
            continue
        if open_nodes:
            _add(node, *open_nodes[-1])
        else:
            root = node
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((node, []))
            if len(open_nodes) > _DEEPEST:
                raise UsageError(
                    f"{where} line {_line(event)} is nested more than {_DEEPEST} deep, which no "
                    "manifest is"
                )


def _add(node: Node, parent: Node, key: list[Node]) -> None:
    if isinstance(parent, Sequence):
        parent.items.append(node)
    elif isinstance(parent, Mapping):
        if key:
            parent.pairs.append((key.pop(), node))
        else:
            key.append(node)


def _node(event: Any) -> Node:
    place = (_line(event), event.start_mark.index, event.end_mark.index)
    if isinstance(event, yaml.SequenceStartEvent):
        return Sequence(*place)
    if isinstance(event, yaml.MappingStartEvent):
        return Mapping(*place)
    tag = event.tag
    if tag is None or tag == "!":
        tag = _RESOLVER.resolve(  # type: ignore[no-untyped-call]
            yaml.ScalarNode, event.value, event.implicit
        )
    return Scalar(*place, event.value, tag)


def _repeated(anchored: Node, event: Any) -> Node:
    """An alias: a scalar at its own place, or the very list or mapping that it repeats."""
    if not isinstance(anchored, Scalar):
        return anchored
    return Scalar(
        _line(event),
        event.start_mark.index,
        event.end_mark.index,
        anchored.value,
        anchored.tag,
        anchored.definition or anchored,
    )


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
