"""kube-proxy's iptables mode: what `iptables-save` prints, as ServiceRules.

The layout is kube-proxy's own (pkg/proxy/iptables/proxier.go of Kubernetes):

- KUBE-SERVICES and KUBE-NODEPORTS match an address or a port, name the Service in a comment, and
  jump to KUBE-SVC-… (all endpoints), KUBE-SVL-… (those on this node), KUBE-EXT-… (from outside)
  or KUBE-FW-… (with source ranges);
- KUBE-SVC-… jumps to a KUBE-SEP-… for each endpoint: first for clients that stick (`recent`),
  then at random (`statistic`);
- KUBE-SEP-… has the DNAT;
- in the table filter, KUBE-SERVICES and KUBE-EXTERNAL-SERVICES turn away what has no endpoints.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from servicelab.observe.rules import (
    Affinity,
    Backend,
    Kind,
    Masquerade,
    Rejects,
    ServiceRule,
    UnreadableRules,
)

_COMMENT = re.compile(
    r"(?P<namespace>[^/\s]+)/(?P<service>[^:\s]+)(?::(?P<port>\S+))?"
    r"(?: (?P<kind>cluster IP|external IP|loadbalancer IP|has no (?:local )?endpoints))?"
)
_KINDS: dict[str, Kind] = {
    "cluster IP": "cluster",
    "external IP": "external",
    "loadbalancer IP": "loadbalancer",
}
_TARGETS = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-")


@dataclass(frozen=True, slots=True)
class _Line:
    """One `-A` line.

    Attributes:
        number: of the line, from 1.
        text: as printed.
        options: each option with its value; "" for those without one. A negated option's name
            starts with "! ".
    """

    number: int
    text: str
    chain: str
    options: dict[str, str]

    @property
    def target(self) -> str:
        return self.options.get("-j", "") or self.options.get("-g", "")

    def fail(self, why: str) -> UnreadableRules:
        return UnreadableRules(f"line {self.number} of iptables-save {why}: {self.text}")


_Chains = dict[str, list[_Line]]


def parse_iptables(text: str) -> list[ServiceRule]:
    """Read the rules of every Service.

    Args:
        text: what `iptables-save` printed, with at least the table nat.

    Raises:
        UnreadableRules: a line is not as kube-proxy writes it.
    """
    tables = _tables(text)
    if "nat" not in tables:
        raise UnreadableRules("iptables-save printed no table nat")
    nat = tables["nat"]
    rules = [_dispatched(line, nat) for line in _dispatch_lines(nat)]
    return rules + [_rejected(line) for line in _reject_lines(tables.get("filter", {}))]


def _tables(text: str) -> dict[str, _Chains]:
    tables: dict[str, _Chains] = {}
    chains: _Chains | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("*") and chains is None:
            chains = tables.setdefault(line[1:].strip(), defaultdict(list))
        elif line == "COMMIT":
            chains = None
        elif line.startswith("-A ") and chains is not None:
            parsed = _parse(number, line)
            chains[parsed.chain].append(parsed)
        elif not (line.startswith(":") and chains is not None):
            raise UnreadableRules(f"line {number} of iptables-save is no rule: {line}")
    if chains is not None:
        raise UnreadableRules("iptables-save ended before COMMIT")
    return tables


def _parse(number: int, text: str) -> _Line:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UnreadableRules(f"line {number} of iptables-save: {error}: {text}") from None
    options: dict[str, str] = {}
    name, negated = "", ""
    for word in words[2:]:
        if word == "!":
            negated = "! "
        elif word.startswith("-"):
            name = negated + word
            options[name], negated = "", ""
        elif name:
            options[name] = f"{options[name]} {word}".strip()
    if len(words) < 2:
        raise UnreadableRules(f"line {number} of iptables-save names no chain: {text}")
    return _Line(number, text, words[1], options)


def _dispatch_lines(nat: _Chains) -> Iterator[_Line]:
    for chain in ("KUBE-SERVICES", "KUBE-NODEPORTS"):
        yield from (line for line in nat.get(chain, ()) if line.target.startswith(_TARGETS))


def _reject_lines(filter_: _Chains) -> Iterator[_Line]:
    for chain in ("KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES"):
        yield from (line for line in filter_.get(chain, ()) if line.target in ("REJECT", "DROP"))


def _dispatched(line: _Line, nat: _Chains) -> ServiceRule:
    chain, masquerade = _backends_chain(line, nat)
    backends, affinity = _endpoints(chain, nat, line)
    return _rule(
        line,
        backends=backends,
        chooser="" if not backends else "only" if len(backends) == 1 else "random",
        affinity=affinity,
        masquerade=masquerade,
    )


def _rejected(line: _Line) -> ServiceRule:
    rejects: Rejects = "refuse" if line.target == "REJECT" else "drop"
    return _rule(line, rejects=rejects)


def _rule(line: _Line, **details: object) -> ServiceRule:
    named = _COMMENT.match(line.options.get("--comment", ""))
    if named is None:
        raise line.fail("names no Service in its comment")
    vip = line.options.get("-d", "").removesuffix("/32").removesuffix("/128")
    kind = _KINDS.get(named["kind"] or "")
    if kind is None:
        # A reject says only that there are no endpoints.
        kind = "node" if not vip else "external" if "EXTERNAL" in line.chain else "cluster"
    return ServiceRule(
        namespace=named["namespace"],
        service=named["service"],
        port_name=named["port"] or "",
        protocol=line.options.get("-p", "").upper(),
        vip=vip,
        port=_number(line, "--dport"),
        kind=kind,
        **details,  # type: ignore[arg-type]
    )


def _backends_chain(line: _Line, nat: _Chains) -> tuple[str, Masquerade]:
    """The chain with the endpoints that a dispatched connection ends in, and who is masqueraded."""
    chain = line.target
    masquerade: Masquerade = "no"
    for _ in range(4):  # FW to EXT to SVL is the longest way
        if chain.startswith(("KUBE-SVC-", "KUBE-SVL-")):
            break
        lines = nat.get(chain, [])
        # What comes before the last jump applies to some clients only.
        jumps = [each for each in lines if each.target.startswith(_TARGETS)]
        if not jumps:
            return chain, masquerade
        if any(_is_for_all(each) and each.target == "KUBE-MARK-MASQ" for each in lines):
            masquerade = "always"
        chain = jumps[-1].target
    if masquerade == "no" and any(
        each.target == "KUBE-MARK-MASQ" and each.options.get("-d") == line.options.get("-d")
        for each in nat.get(chain, ())
    ):
        masquerade = "outside"
    return chain, masquerade


def _is_for_all(line: _Line) -> bool:
    return set(line.options) <= {"-m", "--comment", "-j", "-g"}


def _endpoints(
    chain: str, nat: _Chains, origin: _Line
) -> tuple[tuple[Backend, ...], Affinity | None]:
    backends: list[Backend] = []
    affinity: Affinity | None = None
    left = 1.0
    for line in nat.get(chain, ()):
        if not line.target.startswith("KUBE-SEP-"):
            continue
        if "--rcheck" in line.options:
            affinity = Affinity(_number(line, "--seconds"), "recent")
            continue
        chance = left * _probability(line)
        left -= chance
        ip, port = _destination(nat.get(line.target, ()), line)
        backends.append(Backend(ip, port, chance))
    if backends and left > 1e-6:
        raise origin.fail(f"leads to {chain}, which leaves {left:.3f} of its connections alone")
    return tuple(backends), affinity


def _probability(line: _Line) -> float:
    if "--probability" not in line.options:
        return 1.0
    try:
        return float(line.options["--probability"])
    except ValueError:
        raise line.fail("has a probability that is no number") from None


def _destination(lines: Sequence[_Line], origin: _Line) -> tuple[str, int]:
    for line in lines:
        if line.target == "DNAT":
            ip, _, port = line.options.get("--to-destination", "").rpartition(":")
            if not ip or not port.isdecimal():
                raise line.fail("has a DNAT without address and port")
            return ip.strip("[]"), int(port)
    raise origin.fail(f"jumps to {origin.target}, which has no DNAT")


def _number(line: _Line, option: str) -> int:
    value = line.options.get(option, "")
    if not value.isdecimal():
        raise line.fail(f"has no number for {option}")
    return int(value)
