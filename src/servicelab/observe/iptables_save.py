"""The text of iptables-save: tables, chains, rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from servicelab.observe.unreadable import RulesUnreadable

_CHAIN = re.compile(r":(\S+) (?:-|[A-Z]+) \[\d+:\d+\]")
# What iptables-save --counters puts before a rule: packets and bytes.
_COUNTED = re.compile(r"\[(\d+):(\d+)\] (?=-A )")
# kube-proxy's names need no escapes, so a backslash or a quotation mark within a word is damage.
_WORD = re.compile(r'"([^"\\]*)"|([^\s"\\]+)')
_WORDS = re.compile(rf"(?:(?:{_WORD.pattern})(?:\s+|$))*")
_MODULES = frozenset(
    {
        *("comment", "tcp", "udp", "sctp", "statistic", "recent", "addrtype", "nfacct"),
        # Not in a Service's own chains, but on a packet's way.
        *("conntrack", "mark", "physdev", "set"),
    }
)
_FLAGS = frozenset(
    {"--physdev-is-in", "--random-fully", "--rcheck", "--reap", "--rsource", "--set"}
)
_WITH_VALUE = frozenset(
    {
        "-d",
        "-i",
        "-j",
        "-p",
        "-s",
        "--comment",
        "--ctstate",
        "--dport",
        "--dst-type",
        "--mark",
        "--mask",
        "--match-set",
        "--mode",
        "--name",
        "--nfacct-name",
        "--probability",
        "--reject-with",
        "--seconds",
        "--set-xmark",
        "--src-type",
        "--to-destination",
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """One -A line.

    Attributes:
        number: its number in the text, from 1.
        text: the line, without its counters.
        packets: how many packets it has matched; None if the text has no counters.
    """

    number: int
    text: str
    packets: int | None = None

    @property
    def where(self) -> str:
        """How a message calls it."""
        return f"iptables-save line {self.number}"

    def unreadable(self, what: str) -> RulesUnreadable:
        """The error to raise about this line."""
        return RulesUnreadable(self.where, what, self.text)

    def options(self) -> Mapping[str, str]:
        """Its options after the chain; a negated one is called "! -s", a flag's value is empty.

        Raises:
            RulesUnreadable: an option or module that kube-proxy's Service rules don't use.
        """
        if not _WORDS.fullmatch(self.text):
            raise self.unreadable("quotation marks out of place")
        words = [quoted or bare for quoted, bare in _WORD.findall(self.text)][2:]
        found: dict[str, str] = {}
        at = iter(words)
        for word in at:
            negated = word == "!"
            option = next(at, "") if negated else word
            if option == "-m":
                if next(at, "") not in _MODULES:
                    raise self.unreadable("unknown module")
                continue
            if option in _FLAGS:
                value = ""
            elif option in _WITH_VALUE:
                value = next(at, "")
                if option == "--match-set":
                    value = f"{value} {next(at, '')}".rstrip()
                if not value:
                    raise self.unreadable(f"{option} has no value")
            else:
                raise self.unreadable(f"unknown option {option!r}")
            called = f"! {option}" if negated else option
            if called in found:
                raise self.unreadable(f"{called} twice")
            found[called] = value
        return found


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its chains, each with its lines."""

    name: str
    chains: dict[str, list[Line]] = field(default_factory=dict)

    def lines(self, chain: str) -> list[Line]:
        """The lines of a chain kube-proxy always makes."""
        try:
            return self.chains[chain]
        except KeyError:
            raise RulesUnreadable(
                f"iptables table {self.name}",
                f"there is no chain {chain}, so kube-proxy has written no iptables here",
            ) from None


def read_tables(text: str) -> dict[str, Table]:
    """Read iptables-save's output, with or without counters.

    Raises:
        RulesUnreadable: a line outside the format, a rule of an undeclared chain, a table
            without its COMMIT.
    """
    tables: dict[str, Table] = {}
    table: Table | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = _line(number, raw.rstrip())
        # Between tables only: an empty line inside one is a line that was lost.
        if line.text.startswith("#") or (table is None and not line.text):
            continue
        if table is None:
            if not line.text.startswith("*") or line.text[1:] in tables:
                raise line.unreadable("a table begins with * and its name, once")
            table = tables[line.text[1:]] = Table(line.text[1:])
        elif line.text == "COMMIT":
            table = None
        elif chain := _CHAIN.fullmatch(line.text):
            if chain[1] in table.chains:
                raise line.unreadable("chain declared twice")
            table.chains[chain[1]] = []
        else:
            words = line.text.split(maxsplit=2)
            if words[:1] != ["-A"] or len(words) < 2 or words[1] not in table.chains:
                raise line.unreadable("not a rule of a chain of this table")
            table.chains[words[1]].append(line)
    if table is not None:
        raise RulesUnreadable(f"iptables table {table.name}", "it ends without COMMIT")
    return tables


def _line(number: int, text: str) -> Line:
    counted = _COUNTED.match(text)
    if counted is None:
        return Line(number, text)
    return Line(number, text[counted.end() :], int(counted[1]))
