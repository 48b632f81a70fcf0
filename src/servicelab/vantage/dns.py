"""Names from a vantage point: what a name server, or the place's own resolver, says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from servicelab.vantage.reply import Reply
from servicelab.vantage.request import Request


@dataclass(frozen=True, slots=True)
class DnsRequest(Request):
    """A DNS question to one name server, without search list, cache or EDNS.

    Attributes:
        name: the name; it is taken as fully qualified, with or without its last dot. For PTR
            an IP address may stand here.
        rdtype: A, AAAA, CNAME, SRV, PTR, …
        server: IP address of the name server; None is the first of the vantage point's
            own /etc/resolv.conf.
        port: its port.
        tcp: ask over TCP instead of UDP.
        edns: send an EDNS(0) option record (answers above 512 bytes over UDP).
        recursion: set the RD flag.
    """

    kind: ClassVar[str] = "dns"

    name: str
    rdtype: str = "A"
    server: str | None = None
    port: int = 53
    tcp: bool = False
    edns: bool = False
    recursion: bool = True

    @property
    def target(self) -> str:
        """`dns A web.default.svc.cluster.local`."""
        return f"dns {self.rdtype} {self.name}"


@dataclass(frozen=True, slots=True)
class ResolveRequest(Request):
    """A name, looked up as any program there would: getaddrinfo with search list and hosts file.

    Attributes:
        name: as a user would type it.
        family: `any`, `ipv4` or `ipv6`.
    """

    kind: ClassVar[str] = "resolve"

    name: str
    family: str = "any"
    timeout: float = field(default=12.0, kw_only=True)
    """The C library asks each server twice, 5 s each; less would hide what it would say."""

    @property
    def target(self) -> str:
        """`resolve web`."""
        return f"resolve {self.name}"


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """One resource record.

    Attributes:
        name: owner name with its last dot.
        ttl: seconds.
        rdtype: A, SRV, …
        data: the record's data as a zone file writes it, e.g. `0 100 80 web.…local.` for SRV.
    """

    name: str
    ttl: int
    rdtype: str
    data: str

    def __str__(self) -> str:
        return f"{self.name} {self.ttl} {self.rdtype} {self.data}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsReply(Reply):
    """A name server's answer, with every section.

    Attributes:
        rcode: NOERROR, NXDOMAIN, SERVFAIL, …; empty without an answer.
        flags: those set, of QR AA TC RD RA AD CD.
        question: the question repeated by the server, `name rdtype`.
        answer, authority, additional: the records of each section in the server's order.
        size: bytes of the message.
    """

    kind: ClassVar[str] = "dns"

    rcode: str = ""
    flags: frozenset[str] = frozenset()
    question: str = ""
    answer: tuple[DnsRecord, ...] = ()
    authority: tuple[DnsRecord, ...] = ()
    additional: tuple[DnsRecord, ...] = ()
    size: int = 0

    @property
    def addresses(self) -> list[str]:
        """The A and AAAA records of the answer section, in the server's order."""
        return self.data("A", "AAAA")

    @property
    def ttl(self) -> int | None:
        """The least TTL in the answer section, seconds; None if it is empty."""
        return min((each.ttl for each in self.answer), default=None)

    @property
    def authoritative(self) -> bool:
        """Whether the server set AA: it speaks for the zone itself."""
        return "AA" in self.flags

    @property
    def truncated(self) -> bool:
        """Whether the server set TC: ask again over TCP."""
        return "TC" in self.flags

    def data(self, *rdtypes: str) -> list[str]:
        """The data of the answer section's records of these types, in the server's order."""
        return [each.data for each in self.answer if each.rdtype in rdtypes]

    @property
    def outcome(self) -> str:
        """Response code and data, or the error."""
        if self.error:
            return f"{self.error}: {self.detail}"
        return " ".join([self.rcode, *(each.data for each in self.answer)])

    def _own_json(self) -> dict[str, Any]:
        return {
            "rcode": self.rcode,
            "flags": sorted(self.flags),
            "question": self.question,
            "answer": [_record_json(each) for each in self.answer],
            "authority": [_record_json(each) for each in self.authority],
            "additional": [_record_json(each) for each in self.additional],
            "size": self.size,
        }

    @classmethod
    def _own_fields(cls, wire: Mapping[str, Any]) -> dict[str, Any]:
        sections = {
            name: tuple(DnsRecord(*each) for each in wire.get(name, ()))
            for name in ("answer", "authority", "additional")
        }
        return {
            "rcode": wire.get("rcode", ""),
            "flags": frozenset(wire.get("flags", ())),
            "question": wire.get("question", ""),
            "size": wire.get("size", 0),
            **sections,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveReply(Reply):
    """What getaddrinfo said there.

    Attributes:
        addresses: in the C library's order, each once.
        canonical_name: the name that the addresses belong to, after search list and CNAMEs;
            empty without an answer.
        code: the error's name if it did not resolve, e.g. EAI_NONAME (no such name),
            EAI_AGAIN (no server answered).
    """

    kind: ClassVar[str] = "resolve"

    addresses: tuple[str, ...] = ()
    canonical_name: str = ""
    code: str = ""

    @property
    def outcome(self) -> str:
        """Addresses, or the error."""
        return f"{self.error}: {self.detail}" if self.error else " ".join(self.addresses)

    def _own_json(self) -> dict[str, Any]:
        return {
            "addresses": list(self.addresses),
            "canonical_name": self.canonical_name,
            "code": self.code,
        }

    @classmethod
    def _own_fields(cls, wire: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "addresses": tuple(wire.get("addresses", ())),
            "canonical_name": wire.get("canonical_name", ""),
            "code": wire.get("code", ""),
        }


def _record_json(record: DnsRecord) -> list[str | int]:
    return [record.name, record.ttl, record.rdtype, record.data]
