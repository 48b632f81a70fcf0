"""The probe's DNS questions, against a small name server on loopback."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from servicelab.vantage import DnsRecord, ErrorClass, Vantage
from servicelab.vantage.process_channel import ProcessChannel

PROBE = str(resources.files("servicelab.vantage") / "probe" / "servicelab_probe.py")
HERE = "127.0.0.1"
PATIENCE = 0.3  # seconds; for the questions that nobody answers
ZONE = "svc.cluster.local."
WEB = f"web.default.{ZONE}"

Answer = Callable[[dns.message.Message], bytes]


@pytest.fixture(scope="module")
def local() -> Iterator[Vantage]:
    """A vantage point on this machine."""
    with Vantage("here", lambda: ProcessChannel([sys.executable, PROBE, "channel"])) as vantage:
        yield vantage


@contextmanager
def name_server(answer: Answer) -> Iterator[int]:
    """A name server on one port, over UDP and TCP."""

    class OverUdp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            sock.sendto(answer(dns.message.from_wire(data)), self.client_address)

    class OverTcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            size = int.from_bytes(self.rfile.read(2), "big")
            wire = answer(dns.message.from_wire(self.rfile.read(size)))
            self.wfile.write(len(wire).to_bytes(2, "big") + wire)

    with socketserver.ThreadingTCPServer((HERE, 0), OverTcp) as tcp:
        port = tcp.server_address[1]
        with socketserver.ThreadingUDPServer((HERE, port), OverUdp) as udp:
            for server in (tcp, udp):
                threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            yield port
            tcp.shutdown()
            udp.shutdown()


def cluster_dns(query: dns.message.Message) -> bytes:
    """Answers as the cluster's DNS does, for one Service with two addresses and a named port."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    records = {
        (WEB, "A"): ("10.244.1.2", "10.244.2.3"),
        (WEB, "CNAME"): (f"www.{ZONE}",),
        (f"_http._tcp.{WEB}", "SRV"): (f"0 100 80 {WEB}",),
        ("1.0.96.10.in-addr.arpa.", "PTR"): (WEB,),
    }
    question = query.question[0]
    rdtype = dns.rdatatype.to_text(question.rdtype)
    found = records.get((question.name.to_text(), rdtype))
    if found:
        for data in found:  # one set for each record: dnspython shuffles the records of a set
            response.answer.append(dns.rrset.from_text(question.name, 30, "IN", rdtype, data))
        if rdtype == "SRV":
            response.additional.append(dns.rrset.from_text(WEB, 5, "IN", "A", "10.96.0.1"))
    else:
        response.set_rcode(dns.rcode.NXDOMAIN)
        soa = f"ns.dns.{ZONE} hostmaster.{ZONE} 1 7200 1800 86400 5"
        response.authority.append(dns.rrset.from_text(ZONE, 5, "IN", "SOA", soa))
    return response.to_wire()


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_an_answer_has_addresses_ttl_and_authority(local: Vantage, tcp: bool) -> None:
    """Code, flags, TTL and records come back in the server's order, over UDP and TCP."""
    with name_server(cluster_dns) as port:
        reply = local.dns(WEB, server=HERE, port=port, tcp=tcp)

    assert reply.ok
    assert reply.rcode == "NOERROR"
    assert reply.addresses == ["10.244.1.2", "10.244.2.3"]
    assert reply.answer[0] == DnsRecord(WEB, 30, "A", "10.244.1.2")
    assert reply.ttl == 30
    assert reply.authoritative
    assert reply.flags == {"QR", "AA", "RD"}
    assert reply.question == f"{WEB} A"
    assert reply.size > 12
    assert str(reply.peer) == f"{HERE}:{port}"


def test_no_such_name_is_an_answer(local: Vantage) -> None:
    """NXDOMAIN is what the server said, with the SOA record that goes with it."""
    with name_server(cluster_dns) as port:
        reply = local.dns(f"nobody.{ZONE}", server=HERE, port=port)

    assert reply.ok
    assert reply.rcode == "NXDOMAIN"
    assert reply.addresses == []
    assert reply.ttl is None
    assert reply.authority[0].rdtype == "SOA"


def test_srv_has_its_additional_records(local: Vantage) -> None:
    """An SRV answer gives port and target, and the address in the additional section."""
    with name_server(cluster_dns) as port:
        reply = local.dns(f"_http._tcp.{WEB}", "SRV", server=HERE, port=port)

    assert reply.data("SRV") == [f"0 100 80 {WEB}"]
    assert reply.additional == (DnsRecord(WEB, 5, "A", "10.96.0.1"),)


def test_ptr_takes_an_address(local: Vantage) -> None:
    """For PTR an address may stand where the name stands; the reverse name works too."""
    with name_server(cluster_dns) as port:
        by_address = local.dns("10.96.0.1", "PTR", server=HERE, port=port)
        by_name = local.dns("1.0.96.10.in-addr.arpa", "PTR", server=HERE, port=port)

    assert by_address.data("PTR") == by_name.data("PTR") == [WEB]


def test_edns_and_recursion_are_asked_for_as_told(local: Vantage) -> None:
    """By default a question has no EDNS record and wants recursion; both can be turned round."""
    seen: list[tuple[int, bool]] = []

    def answer(query: dns.message.Message) -> bytes:
        seen.append((query.edns, bool(query.flags & dns.flags.RD)))
        return cluster_dns(query)

    with name_server(answer) as port:
        local.dns(WEB, server=HERE, port=port)
        local.dns(WEB, server=HERE, port=port, edns=True, recursion=False)

    assert seen == [(-1, True), (0, False)]


def test_truncated_answers_say_so(local: Vantage) -> None:
    """A server that sets TC is heard: its answer is truncated, not broken."""

    def answer(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return response.to_wire()

    with name_server(answer) as port:
        reply = local.dns(WEB, server=HERE, port=port)

    assert reply.ok
    assert reply.truncated


def test_late_answers_to_other_questions_are_passed_over(local: Vantage) -> None:
    """Datagrams with another id don't count, so a name server that only sends those times out."""

    def answer(query: dns.message.Message) -> bytes:
        wire = cluster_dns(query)
        return bytes([wire[0] ^ 0xFF]) + wire[1:]

    with name_server(answer) as port:
        reply = local.dns(WEB, server=HERE, port=port, timeout=PATIENCE)

    assert reply.error is ErrorClass.TIMEOUT


def test_garbage_is_a_protocol_error(local: Vantage) -> None:
    """Bytes that are no DNS message, or answer another name, are a `protocol` error."""

    def other_name(query: dns.message.Message) -> bytes:
        other = dns.message.make_query("other.example.", "A", id=query.id)
        return dns.message.make_response(other).to_wire()

    with name_server(lambda query: query.id.to_bytes(2, "big") + b"hello") as port:
        assert local.dns(WEB, server=HERE, port=port).error is ErrorClass.PROTOCOL
    with name_server(other_name) as port:
        assert local.dns(WEB, server=HERE, port=port).error is ErrorClass.PROTOCOL


def test_no_name_server_there_is_refused(local: Vantage) -> None:
    """A port without a name server refuses at once, over UDP too."""
    with socket.socket() as unheard:
        unheard.bind((HERE, 0))
        port = unheard.getsockname()[1]

        assert local.dns(WEB, server=HERE, port=port).error is ErrorClass.REFUSED
        assert local.dns(WEB, server=HERE, port=port, tcp=True).error is ErrorClass.REFUSED


def test_impossible_names_are_name_errors(local: Vantage) -> None:
    """A label of 64 bytes can't be asked for; the reply says so, and nothing is sent."""
    reply = local.dns("a" * 64 + ".local", server=HERE, port=9)

    assert reply.error is ErrorClass.NAME
    assert reply.peer is None


def test_unicode_names_are_asked_in_their_ascii_form(local: Vantage) -> None:
    """A name outside ASCII goes out IDNA-encoded."""
    with name_server(cluster_dns) as port:
        assert local.dns("bücher.example", server=HERE, port=port).question == (
            "xn--bcher-kva.example. A"
        )


def test_unknown_record_types_are_said_so(local: Vantage) -> None:
    """A record type that does not exist is a reply with an error, not a broken channel."""
    reply = local.dns(WEB, "NONSENSE", server=HERE)

    assert reply.error is ErrorClass.OTHER
    assert "NONSENSE" in reply.detail
