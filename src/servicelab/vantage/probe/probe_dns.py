"""Questions to a name server, by dnspython, whose import costs 2.6 times http.client's."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.reversename
from probe_call import Call, DeadlineSocket, Failure
from probe_place import contents


def ask_dns(call: Call) -> None:
    """One question to one server."""
    request = call.request
    name, tcp = request["name"], request.get("tcp", False)
    try:
        if request.get("rdtype", "A").upper() == "PTR":
            with contextlib.suppress(dns.exception.SyntaxError):
                name = dns.reversename.from_address(name)
        query = dns.message.make_query(name, request.get("rdtype", "A"))
    except dns.rdatatype.UnknownRdatatype as error:
        raise Failure("other", f"{request['rdtype']!a} is no record type") from error
    except dns.exception.DNSException as error:
        raise Failure("name", f"{name!a}: {type(error).__name__} {error}") from error
    query.use_edns(0 if request.get("edns") else False)
    if not request.get("recursion", True):
        query.flags &= ~dns.flags.RD
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    server = request.get("server") or _first_name_server()
    with call.connect(server, request.get("port", 53), kind) as sock:
        wire, message = _exchange(sock, query, tcp)
    call.reply["rcode"] = dns.rcode.to_text(message.rcode())
    call.reply["flags"] = dns.flags.to_text(message.flags).split()
    call.reply["question"] = " ".join(
        f"{each.name} {dns.rdatatype.to_text(each.rdtype)}" for each in message.question
    )
    call.reply["size"] = len(wire)
    for section in ("answer", "authority", "additional"):
        call.reply[section] = [
            [
                rrset.name.to_text(),
                rrset.ttl,
                dns.rdatatype.to_text(rrset.rdtype),
                rdata.to_text(),
            ]
            for rrset in getattr(message, section)
            for rdata in rrset
        ]


def _exchange(sock: DeadlineSocket, query: Any, tcp: bool) -> tuple[bytes, Any]:
    question = query.to_wire()
    if tcp:
        sock.sendall(len(question).to_bytes(2, "big") + question)
        wire = _exactly(sock, int.from_bytes(_exactly(sock, 2), "big"))
    else:
        sock.send(question)
        wire = sock.recv(65535)
        while wire[:2] != question[:2]:  # not ours: late or forged
            wire = sock.recv(65535)
    try:
        message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    except dns.exception.DNSException as error:
        raise Failure("protocol", f"not a DNS answer: {type(error).__name__} {error}") from error
    if not query.is_response(message):
        raise Failure("protocol", "the server answered another question")
    return wire, message


def _exactly(sock: DeadlineSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        got = sock.recv(size - len(data))
        if not got:
            raise Failure("closed", f"the server closed after {len(data)} of {size} bytes")
        data += got
    return data


def _first_name_server() -> str:
    for words in map(str.split, contents("/etc/resolv.conf").splitlines()):
        if len(words) > 1 and words[0] == "nameserver":
            return words[1]
    raise Failure("name", "/etc/resolv.conf names no server")
