"""What was asked, from where, and what came back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from servicelab.vantage import DnsReply, Reply
from servicelab.vantage.reply import ErrorClass

PlaceKind = Literal["node", "pod", "outside", "api"]
Goal = Literal["backend", "cluster", "node", "external", "loadbalancer"]


@dataclass(frozen=True, slots=True)
class Place:
    """A place that was asked from.

    Attributes:
        name: as messages call it.
        kind: a node, a Pod, a host outside the cluster, or the API server.
        node: the node that it is, or runs on; "" outside.
        ip: its address; "" if it is not known.
    """

    name: str
    kind: PlaceKind
    node: str = ""
    ip: str = ""

    def __str__(self) -> str:
        words = {"pod": "a Pod", "outside": "outside", "api": "the API server"}
        return words.get(self.kind, f"node {self.name}")


@dataclass(frozen=True, slots=True)
class Question:
    """One address and port to ask, as often as `times` says.

    Attributes:
        goal: whose address it is: a backend's own, or one of the Service's.
        address: an IP address.
        port: the number asked.
        protocol: TCP or UDP.
        port_name: the Service port's name.
        times: how often, each time from a port of its own.
        node: for a node port, the node.
        dns: whether a name server stands there, and is asked what one understands.
    """

    goal: Goal
    address: str
    port: int
    protocol: str
    port_name: str = ""
    times: int = 1
    node: str = ""
    dns: bool = False

    @property
    def target(self) -> str:
        """`10.96.0.7:80`, with brackets around an IPv6 address."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back to one question from one place.

    Attributes:
        place: where it was asked.
        question: what was asked.
        answered: how many got an answer that makes sense.
        connected: how many were accepted, whatever came then; for UDP, as `answered`.
        who: how often each Pod answered, where they said so.
        errors: how often what was met instead; "silent" where a connection was accepted, or a
            datagram swallowed, and nothing came back.
    """

    place: Place
    question: Question
    answered: int = 0
    connected: int = 0
    who: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def met(self) -> str:
        """What was met instead of answers: `refused`, `12 of 54 timeout`."""
        times = self.question.times
        if times == 1:
            return ", ".join(self.errors)
        return ", ".join(f"{count} of {times} {error}" for error, count in self.errors.items())


SILENT = "silent"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def answers(place: Place, question: Question, replies: Iterable[Reply]) -> Answers:
    """Sum up the replies to one question."""
    answered = connected = 0
    who: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for reply in replies:
        accepted = reply.ok or (question.protocol == "TCP" and reply.connect_seconds is not None)
        answered += reply.ok
        connected += accepted
        # Any page may stand at the path that the labs' backend tells its name at.
        if reply.ok and reply.pod and _NAME.fullmatch(reply.pod):
            who[reply.pod] += 1
        if reply.ok:
            continue
        if accepted and reply.error is ErrorClass.TIMEOUT:
            errors[SILENT] += 1
        elif accepted:
            # Something is there, and speaks another protocol than HTTP.
            answered += 1
        elif question.protocol == "UDP" and reply.error is ErrorClass.TIMEOUT:
            errors[SILENT] += 1
        else:
            errors[str(reply.error)] += 1
    return Answers(place, question, answered, connected, dict(who), dict(errors))


@dataclass(frozen=True, slots=True)
class NameAnswer:
    """What a name server said.

    Attributes:
        place: where it was asked.
        name: what was asked for.
        rcode: NOERROR, NXDOMAIN, …; "" without an answer.
        addresses: the addresses in the answer.
        aliases: the names that it leads through.
        error: why there was no answer; "" if there was.
    """

    place: Place
    name: str
    rcode: str = ""
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    error: str = ""

    @classmethod
    def of(cls, place: Place, name: str, reply: DnsReply) -> NameAnswer:
        """From the probe's reply."""
        return cls(
            place,
            name,
            reply.rcode,
            tuple(reply.addresses),
            tuple(each.rstrip(".") for each in reply.data("CNAME")),
            str(reply.error or ""),
        )


@dataclass(frozen=True, slots=True)
class ArpSeen:
    """Who said by ARP that an address is theirs.

    Attributes:
        ip: the address.
        macs: who did, the first to answer first.
    """

    ip: str
    macs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Socket:
    """One address and port that a Pod listens on.

    Attributes:
        ip: the address; "0.0.0.0" or "::" for every one.
        port: the number.
        protocol: TCP or UDP.
    """

    ip: str
    port: int
    protocol: str

    @property
    def only_inside(self) -> bool:
        """Whether only the Pod itself can reach it."""
        return self.ip.startswith("127.") or self.ip == "::1"


@dataclass(frozen=True)
class Asked:
    """Everything that was asked.

    Attributes:
        places: where the Service was asked from.
        why_not: why nothing was asked from anywhere; "" if something was.
        unreached: places that could not be asked from, and why.
        backends: what each backend said when it was asked directly.
        service: what came back through the Service's addresses.
        names: what the cluster DNS said.
        arp: what ARP said for the addresses that a load balancer gave.
        sockets: what Pods that did not answer listen on, by the Pod's name; None of a Pod whose
            node can't be entered.
        outside_why_not: why nothing was asked from outside, where that matters.
    """

    places: tuple[Place, ...] = ()
    why_not: str = ""
    unreached: Mapping[str, str] = field(default_factory=dict)
    backends: tuple[Answers, ...] = ()
    service: tuple[Answers, ...] = ()
    names: tuple[NameAnswer, ...] = ()
    arp: tuple[ArpSeen, ...] = ()
    sockets: Mapping[str, tuple[Socket, ...]] = field(default_factory=dict)
    outside_why_not: str = ""

    @property
    def from_where(self) -> str:
        """The places in words: `3 nodes`, `a Pod`, `3 nodes and outside`."""
        return places_in_words(self.places)


def places_in_words(places: Iterable[Place]) -> str:
    """`3 nodes and outside`, each place once; `nowhere` if there is none."""
    different = list(dict.fromkeys(places))
    nodes = [place for place in different if place.kind == "node"]
    words = [f"{len(nodes)} nodes" if len(nodes) > 1 else str(nodes[0])] if nodes else []
    words += [str(place) for place in different if place.kind != "node"]
    return " and ".join(words) or "nowhere"
