"""Reads YAML that may be hostile; runs in a process of its own, which may not use much.

The process gets names and contents on its standard input and answers with JSON on its standard
output: documents, or the reasons why there are none. It opens nothing, and what it may use is
limited before it reads the first byte. Only the standard library and PyYAML: it is run as a file,
so that it starts in no time.
"""

from __future__ import annotations

import json
import re
import resource
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

MEMORY_BYTES = 128 * 1024 * 1024
"""Address space beside what Python with PyYAML has, some 60 MiB; for at most 1 MiB of text."""
ANSWER_BYTES = 16 * 1024 * 1024
"""The limits below give a third of it at most."""
CPU_SECONDS = 4
"""The worst that the limits below let through was seen to take 0.25 s."""
READY = b"ready\n"
MOST_DOCUMENTS = 100
MOST_NODES = 20_000
"""Values, each as often as aliases repeat it."""
MOST_CHARACTERS = 2 * 1024 * 1024
"""Of all values, each as often as aliases repeat it."""
MOST_ALIASES = 50
DEEPEST = 40
"""Levels; a Deployment's probe has 12."""
LONGEST_KEY = 320
"""Characters; a label's key has 317 at most."""
LONGEST_NUMBER = 25

_BIGGEST = 2**63
_FILE_MODES = ("defaultMode", "mode")
#: Refused wherever they stand, in a comment too: a reader would not see what stands there.
_UNWANTED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e"
    "\u2066-\u2069\ufffe\uffff]"
)
_ASCII = re.ASCII
#: What YAML 1.1 or 1.2 may read as a number: digits, a point, an exponent …
_NUMBER = re.compile(
    r"[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|\.(inf|Inf|INF)|\.(nan|NaN|NAN))", _ASCII
)
#: … another base, digits in groups, or counted in sixties.
_ODD_NUMBER = re.compile(
    r"[-+]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*(\.[\d_]*)?"
    r"|\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?)",
    _ASCII,
)
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([Tt \t].*)?", _ASCII)
_WHOLE = re.compile(r"[-+]?(0|[1-9]\d*)", _ASCII)
_OCTAL = re.compile(r"0[0-7]+", _ASCII)
_DECIMAL = re.compile(r"[-+]?(0|[1-9]\d*)\.\d+", _ASCII)
#: Refused in keys and values.
_INVISIBLE = re.compile("[\xa0\xad\u180e\u2000-\u200d\u202f\u205f\u2060-\u2064\u3000\ufeff]")


class Unreadable(Exception):
    """What stands there is not taken."""

    def __init__(self, line: int, why: str, remedy: str = "") -> None:
        super().__init__(why)
        self.line, self.why, self.remedy = line, why, remedy


def limit() -> None:
    """Take away from this process what reading needs not."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    for what, most in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, ANSWER_BYTES),
    ):
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def main() -> None:
    """Read what the standard input holds, and answer."""
    import yaml.resolver  # noqa: F401  # before ready: that it is missing is not the manifest's fault

    limit()
    out = sys.stdout.buffer
    out.write(READY)
    out.flush()
    documents: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    budget = Budget()
    for number, content in enumerate(contents()):
        try:
            for line, node in documents_of(content, budget):
                documents.append({"file": number, "line": line, "node": node})
        except Unreadable as error:
            refused.append(
                {"file": number, "line": error.line, "why": error.why, "remedy": error.remedy}
            )
    # Past ASCII everything is written out: half of a surrogate pair has no bytes.
    out.write(json.dumps({"refused": refused, "documents": documents}).encode())


def contents() -> list[bytes]:
    """The files on the standard input: each its length in 4 bytes, then its bytes."""
    data = sys.stdin.buffer.read()
    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("!I", data, at)
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def packed(contents: list[bytes]) -> bytes:
    """What `contents` takes apart."""
    return b"".join(struct.pack("!I", len(each)) + each for each in contents)


class Budget:
    """What the values of a submission may come to, all files together."""

    def __init__(self) -> None:
        self.documents = 0
        self.nodes = 0
        self.characters = 0
        self.aliases = 0


def documents_of(content: bytes, budget: Budget) -> list[tuple[int, Any]]:
    """The documents of a file, each with the line where it begins.

    A value is written as [line, scalar], [line, [value, …]] or [line, {key: value}].

    Raises:
        Unreadable: it is not YAML, not UTF-8, or more than anybody needs.
    """
    import yaml

    text = decoded(content)
    try:
        return Composer(text, budget).documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(
            mark.line + 1 if mark else 0, f"this is not YAML: {error.problem or error.context}"
        ) from None
    except yaml.YAMLError as error:
        raise Unreadable(0, f"this is not YAML: {error}") from None


def decoded(content: bytes) -> str:
    """A file's text.

    Raises:
        Unreadable: it is not UTF-8, or has characters that no manifest needs.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(line, "this is not UTF-8", "save it as UTF-8") from None
    text = text.removeprefix("\ufeff")
    if found := _UNWANTED.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise Unreadable(line, f"{described(found[0])} stands here", "delete it or type it anew")
    return text


def described(character: str) -> str:
    """An unwanted character in words."""
    code = ord(character)
    if code < 32 or 127 <= code < 160:
        what = "a control character"
    elif _INVISIBLE.match(character):
        what = "an invisible character, as text from a web page has,"
    elif code in (0x2028, 0x2029):
        what = "a line separator that is none for YAML"
    else:
        what = "a character that turns the direction of writing"
    return f"{what} (U+{code:04X})"


class Composer:
    """Builds values from PyYAML's events, and counts."""

    def __init__(self, text: str, budget: Budget) -> None:
        self.text = text
        self.budget = budget
        # What an alias repeats: the value, with how many values and characters it is.
        self.anchors: dict[str, tuple[Any, int, int]] = {}

    def documents(self) -> list[tuple[int, Any]]:
        """All documents that hold something."""
        import yaml

        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        found: list[tuple[int, Any]] = []
        self.events = yaml.parse(self.text, Loader=loader)
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors = {}
                if event.tags:
                    raise Unreadable(line_of(event), "a %TAG directive stands here", "delete it")
                node = self.value(next(self.events), 1)
                if node[1] is None:
                    continue
                self.budget.documents += 1
                if self.budget.documents > MOST_DOCUMENTS:
                    raise Unreadable(node[0], f"there are more than {MOST_DOCUMENTS} documents")
                found.append((node[0], node))
        return found

    def value(self, event: Any, depth: int) -> Any:
        """The value that an event begins."""
        import yaml

        line = line_of(event)
        if isinstance(event, yaml.AliasEvent):
            return self.repeated(event)
        before = (self.budget.nodes, self.budget.characters)
        anchor = event.anchor
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            raise Unreadable(
                line,
                f"the tag {event.tag} stands here: only plain YAML is taken",
                "leave the tag out",
            )
        self.count(line, 1, 0)
        if depth > DEEPEST:
            raise Unreadable(line, f"this is nested more than {DEEPEST} deep, which no object is")
        node: Any
        if isinstance(event, yaml.ScalarEvent):
            self.check_text(line, event.value)
            node = [line, event.value if as_text(event) else scalar(event.value, line)]
        elif isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
                items.append(self.value(event, depth + 1))
                refuse_octal(items[-1], line_of(event))
            node = [line, items]
        else:
            node = [line, self.mapping(depth)]
        if anchor:
            self.keep(anchor, node, before)
        return node

    def mapping(self, depth: int) -> dict[str, Any]:
        """The rest of a mapping."""
        import yaml

        pairs: dict[str, Any] = {}
        first: dict[str, int] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = line_of(event)
            key = self.key(event)
            if key in pairs:
                raise Unreadable(
                    line,
                    f"the key {key!r} stands twice, first on line {first[key]}: the second would "
                    "silently replace it",
                    "leave one out",
                )
            first[key] = line
            node = self.value(next(self.events), depth + 1)
            if key not in _FILE_MODES:
                refuse_octal(node, line)
            # Where a field is, is where its key is: the value may begin on the next line.
            pairs[key] = [line, *node[1:]]
        return pairs

    def key(self, event: Any) -> str:
        """A mapping's key."""
        import yaml

        line = line_of(event)
        if isinstance(event, yaml.AliasEvent) or not isinstance(event, yaml.ScalarEvent):
            raise Unreadable(line, "a key must be text", "is a template not filled in here?")
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            raise Unreadable(line, f"the tag {event.tag} stands here", "leave the tag out")
        if event.anchor:
            raise Unreadable(line, "an anchor stands at a key", "leave it out")
        if not as_text(event):
            if event.value == "<<":
                raise Unreadable(
                    line,
                    "the merge key << is not part of YAML 1.2",
                    "write out what it would bring",
                )
            if not isinstance(scalar(event.value, line), str):
                raise Unreadable(
                    line, f"YAML does not read the key {event.value} as text", "put it in quotes"
                )
        if len(event.value) > LONGEST_KEY:
            raise Unreadable(line, f"a key has more than {LONGEST_KEY} characters")
        self.check_text(line, event.value)
        key: str = event.value
        return key

    def keep(self, anchor: str, node: Any, before: tuple[int, int]) -> None:
        """Take down what an anchor stands for."""
        nodes, characters = before
        self.anchors[anchor] = (
            node,
            self.budget.nodes - nodes,
            self.budget.characters - characters,
        )

    def repeated(self, event: Any) -> Any:
        """What an alias stands for; it is counted as if it was written out."""
        line = line_of(event)
        self.budget.aliases += 1
        if self.budget.aliases > MOST_ALIASES:
            raise Unreadable(line, f"there are more than {MOST_ALIASES} aliases", "write it out")
        if event.anchor not in self.anchors:
            raise Unreadable(line, f"there is no anchor &{event.anchor} before this alias")
        node, nodes, characters = self.anchors[event.anchor]
        self.count(line, nodes, characters)
        return [line, *node[1:]]

    def check_text(self, line: int, text: str) -> None:
        """See that a key or value is not too long, and can be seen."""
        self.count(line, 0, len(text))
        if found := _UNWANTED.search(text) or _INVISIBLE.search(text):
            raise Unreadable(
                line, f"{described(found[0])} stands in a text", "delete it or type it anew"
            )

    def count(self, line: int, nodes: int, characters: int) -> None:
        """See that there is not too much."""
        self.budget.nodes += nodes
        self.budget.characters += characters
        if self.budget.nodes > MOST_NODES:
            raise Unreadable(line, f"there are more than {MOST_NODES} values, aliases counted out")
        if self.budget.characters > MOST_CHARACTERS:
            raise Unreadable(
                line, f"its texts have more than {MOST_CHARACTERS} characters, aliases counted out"
            )


def line_of(event: Any) -> int:
    """Counted from 1."""
    return int(event.start_mark.line) + 1


def as_text(event: Any) -> bool:
    """Is a scalar text whatever it looks like: in quotes, in a block, or tagged so?"""
    return bool(event.tag) or not event.implicit[0]


def scalar(text: str, line: int) -> Any:
    """What a scalar without quotes says to every version of YAML.

    Raises:
        Unreadable: versions of YAML, or Kubernetes and others, don't agree on it.
    """
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    lower = text.lower()
    if lower in ("yes", "no", "on", "off", "y", "n"):
        meant = "true" if lower in ("yes", "on", "y") else "false"
        raise Unreadable(
            line,
            f"YAML 1.1, which Kubernetes reads, takes {text} without quotes for {meant}",
            f'write "{text}" in quotes if the text is meant, else {meant}',
        )
    if not looks_like_a_number(text):
        return text
    if len(text) > LONGEST_NUMBER:
        raise Unreadable(line, "a number has too many digits", "put it in quotes if it is text")
    return number(text, line)


def looks_like_a_number(text: str) -> bool:
    """May some version of YAML read it as a number or a date?"""
    return bool(_NUMBER.fullmatch(text) or _ODD_NUMBER.fullmatch(text) or _DATE.fullmatch(text))


def number(text: str, line: int) -> int | float:
    """A number that every version of YAML reads alike.

    Raises:
        Unreadable: they don't.
    """
    remedy = "put it in quotes if it is text"
    if _WHOLE.fullmatch(text):
        whole = int(text)
        if abs(whole) >= _BIGGEST:
            raise Unreadable(line, f"the number {text} is too big", remedy)
        return whole
    if _OCTAL.fullmatch(text):
        return Octal(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    raise Unreadable(line, f"versions of YAML don't agree on what {text} without quotes is", remedy)


def refuse_octal(node: Any, line: int) -> None:
    """See that a value is no number with a leading zero.

    Raises:
        Unreadable: it is one.
    """
    if isinstance(node[1], Octal):
        raise Unreadable(
            line,
            f"a number with a leading zero is octal for Kubernetes: 0{node[1]:o} is {node[1]:d}",
            "write it without the zero, or in quotes if it is text",
        )


class Octal(int):
    """A number with a leading zero; Kubernetes' own documentation writes file modes so."""

    def __new__(cls, text: str) -> Octal:
        return super().__new__(cls, text, 8)


def fail(error: BaseException) -> NoReturn:
    """End as a process does that used more than it may."""
    sys.stderr.write(f"{type(error).__name__}\n")
    sys.exit(9)


if __name__ == "__main__":
    try:
        main()
    except (MemoryError, RecursionError) as error:
        fail(error)
