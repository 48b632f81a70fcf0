"""From what was read in a node's rules to the model: names, backends, refusals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from servicelab.observe.model import Backend, Kind, ServiceRule
from servicelab.observe.unreadable import RulesUnreadable

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"({_LABEL})/({_LABEL})(?::({_LABEL}))?")
_PROTOCOLS = ("tcp", "udp", "sctp")
# nft prints numbers (IANA's) where it finds no /etc/protocols, as in kube-proxy's own container.
_NUMBERS = {6: "tcp", 17: "udp", 132: "sctp"}
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class PortName:
    """A port of a Service, as kube-proxy names it: namespace/service:port."""

    namespace: str
    service: str
    port_name: str

    def __str__(self) -> str:
        base = f"{self.namespace}/{self.service}"
        return f"{base}:{self.port_name}" if self.port_name else base


@dataclass(frozen=True, slots=True)
class Choice:
    """The backends a chain leads to and how it chooses among them."""

    endpoints: tuple[tuple[str, int], ...] = ()
    chooser: str = ""
    affinity_seconds: int | None = None
    affinity_by: str = ""

    def backends(self) -> tuple[Backend, ...]:
        """Each endpoint with its probability; all are equal."""
        return tuple(Backend(ip, port, 1 / len(self.endpoints)) for ip, port in self.endpoints)


@dataclass(frozen=True, slots=True)
class Match:
    """What a packet to a Service looks like."""

    name: PortName
    protocol: str
    ip: str
    port: int
    kind: Kind

    def rule(self, choice: Choice | None = None) -> ServiceRule:
        """The model's rule for such packets."""
        found = choice or Choice()
        return ServiceRule(
            self.name.namespace,
            self.name.service,
            self.name.port_name,
            self.protocol.upper(),
            self.ip,
            self.port,
            self.kind,
            tuple(sorted(found.backends())),
            found.chooser if len(found.endpoints) > 1 else "",
            found.affinity_seconds,
            found.affinity_by,
        )


def port_name(text: str, where: str) -> PortName:
    """Read namespace/service or namespace/service:port."""
    match = _NAME.fullmatch(text)
    if match is None:
        raise RulesUnreadable(where, "not the name of a Service's port", text)
    return PortName(match[1], match[2], match[3] or "")


def address(text: object, where: str) -> str:
    """Read an IP address."""
    try:
        return str(ip_address(text if isinstance(text, str) else ""))
    except ValueError:
        raise RulesUnreadable(where, "not an IP address", text) from None


def port_number(value: object, where: str) -> int:
    """Read a port, written as digits or as a number."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LAST_PORT:
        raise RulesUnreadable(where, "not a port", value)
    return value


def protocol(value: object, where: str) -> str:
    """Read tcp, udp or sctp, or its number."""
    if isinstance(value, int) and value in _NUMBERS:
        return _NUMBERS[value]
    if not isinstance(value, str) or value not in _PROTOCOLS:
        raise RulesUnreadable(where, "not a protocol of a Service", value)
    return value


def in_one_model(
    forwarded: Iterable[ServiceRule], refused: Iterable[ServiceRule]
) -> tuple[ServiceRule, ...]:
    """Join what a node forwards and what it refuses, one rule for each address and port.

    Raises:
        RulesUnreadable: one address and port has two meanings, or none.
    """
    joined: dict[tuple[str, str, int], ServiceRule] = {}
    for rule in forwarded:
        key = (rule.protocol, rule.ip, rule.port)
        if key in joined:
            raise RulesUnreadable(_where(rule), "more than one rule for it")
        joined[key] = rule
    seen: set[tuple[str, str, int]] = set()
    for rule in refused:
        key = (rule.protocol, rule.ip, rule.port)
        other = joined.get(key)
        if key in seen:
            raise RulesUnreadable(_where(rule), "refused more than once")
        seen.add(key)
        if other is None:
            joined[key] = rule
        elif _owner(other) != _owner(rule):
            raise RulesUnreadable(_where(rule), "forwarded for another Service", _where(other))
        else:
            joined[key] = replace(other, rejects=rule.rejects, drops=rule.drops)
    for rule in joined.values():
        if not (rule.backends or rule.rejects or rule.drops):
            raise RulesUnreadable(_where(rule), "neither forwarded nor refused")
    return tuple(sorted(joined.values(), key=_order))


def equal_shares(probabilities: Sequence[float | None], where: str) -> None:
    """Prove that a chain of chances, the last one certain, gives each the same share.

    Args:
        probabilities: of each rule in turn, given that none before matched; None is certain.
    """
    for place, chance in enumerate(probabilities):
        left = len(probabilities) - place
        certain = left == 1
        if (chance is None) != certain or (
            chance is not None and abs(chance - 1 / left) > _PROBABILITY_STEP
        ):
            raise RulesUnreadable(
                where,
                f"backend {place + 1} of {len(probabilities)} has not an equal share",
                chance,
            )


# Wider than both roundings on the way: kube-proxy writes ten digits, the kernel keeps 31 bits.
_PROBABILITY_STEP = 1e-8


def _owner(rule: ServiceRule) -> tuple[str, str, str]:
    return (rule.namespace, rule.service, rule.port_name)


def _where(rule: ServiceRule) -> str:
    name = PortName(*_owner(rule))
    return f"{name} ({rule.kind} {rule.ip or 'any address'} port {rule.port}/{rule.protocol})"


def _order(rule: ServiceRule) -> tuple[str, str, str, str, str, str, int]:
    return (*_owner(rule), rule.protocol, rule.kind, rule.ip, rule.port)
