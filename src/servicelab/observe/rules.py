"""One model for what kube-proxy writes into a kernel, whatever its mode."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from servicelab.errors import InfrastructureError

Kind = Literal["cluster", "node", "external", "loadbalancer"]
Masquerade = Literal["no", "outside", "always"]
Rejects = Literal["", "refuse", "drop"]


class UnreadableRules(InfrastructureError):
    """A kernel's rules are not as kube-proxy writes them; the message names the line."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a rule sends a new connection.

    Attributes:
        ip: the endpoint's address.
        port: the port there.
        probability: the chance of a new connection without affinity to go there, 0 to 1.
    """

    ip: str
    port: int
    probability: float = 1.0

    @property
    def address(self) -> str:
        """`ip:port`."""
        return f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class Affinity:
    """How a rule keeps a client with its backend.

    Attributes:
        seconds: how long after its last connection a client is remembered.
        kept_in: where: the `recent` match (iptables), a set for each backend (nftables).
    """

    seconds: int
    kept_in: Literal["recent", "set"]


@dataclass(frozen=True, slots=True)
class ServiceRule:
    """What a kernel does with new connections to one address and port of a Service.

    Attributes:
        namespace: the Service's.
        service: its name.
        port_name: the Service port's name; "" if it has none.
        protocol: "TCP", "UDP" or "SCTP".
        vip: the address; "" for a node port, which is open on the node's own addresses.
        port: the port there.
        kind: how the Service came by the address.
        backends: where connections go; empty if they are turned away.
        chooser: how one of several backends is chosen: "random", or "only" if there is just one.
        affinity: how clients stick to a backend; None if they don't.
        masquerade: whose address is hidden from the backend: nobody's, that of clients which
            are no Pods, everybody's.
        rejects: how connections are turned away: refused, dropped, or "" not at all.
    """

    namespace: str
    service: str
    port_name: str
    protocol: str
    vip: str
    port: int
    kind: Kind
    backends: tuple[Backend, ...] = ()
    chooser: Literal["random", "only", ""] = ""
    affinity: Affinity | None = None
    masquerade: Masquerade = "no"
    rejects: Rejects = ""

    @property
    def addresses(self) -> frozenset[str]:
        """The backends, each as `ip:port`."""
        return frozenset(backend.address for backend in self.backends)

    def __str__(self) -> str:
        where = f"{self.vip or 'node port'}:{self.port}/{self.protocol}"
        if self.rejects:
            return f"{where} {'refused' if self.rejects == 'refuse' else 'dropped'}"
        sticky = f", sticky for {self.affinity.seconds} s" if self.affinity else ""
        return f"{where} to {', '.join(sorted(self.addresses)) or 'nothing'}{sticky}"


def rules_of(rules: Iterable[ServiceRule], namespace: str, service: str) -> list[ServiceRule]:
    """The rules of one Service."""
    return [rule for rule in rules if (rule.namespace, rule.service) == (namespace, service)]
