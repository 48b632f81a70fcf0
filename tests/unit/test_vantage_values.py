"""Requests and replies as values: what is refused, what they say, and JSON both ways."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from servicelab.errors import UsageError
from servicelab.vantage import (
    ArpRequest,
    ArpWatchRequest,
    DnsRequest,
    ErrorClass,
    HttpReply,
    HttpRequest,
    InterfacesRequest,
    PingRequest,
    ReadFileRequest,
    Replies,
    Reply,
    Request,
    ResolveRequest,
    TcpReply,
    TcpRequest,
    UdpRequest,
)
from servicelab.vantage.wire import reply_from_json, request_from_json

ENDS = {"local": ["10.244.1.9", 40000], "peer": ["10.96.0.5", 8080], "connect_seconds": 0.001}
TIMES = {"seconds": 0.002, "started": 1000.5}

REQUESTS: list[Request] = [
    HttpRequest(
        "10.96.0.5",
        8080,
        "/x?y=z",
        "POST",
        host="shop.example",
        headers=(("X-A", "b"), ("X-C", "d")),
        body=bytes(range(256)),
        also=("/clientip",),
        source="10.0.0.1",
        timeout=0.5,
    ),
    TcpRequest("::1", 80, send=b"\xff", read=10, line=True),
    UdpRequest("10.96.0.5", 53, b"\x00\xff"),
    DnsRequest("web.default.svc.cluster.local", "SRV", "10.96.0.10", tcp=True, edns=True),
    ResolveRequest("bücher"),
    ReadFileRequest("/etc/resolv.conf"),
    InterfacesRequest(),
    PingRequest("shop.example", source="10.0.0.1"),
    ArpRequest("172.18.255.1", "eth0", 0.1),
    ArpWatchRequest("172.18.255.1", timeout=3.0),
]

PACKET = {
    "at": 1.5,
    "op": "reply",
    "sender_mac": "02:42:ac:12:00:03",
    "sender_ip": "172.18.255.1",
    "target_mac": "02:42:ac:12:00:03",
    "target_ip": "172.18.255.1",
    "from_mac": "02:42:ac:12:00:03",
    "to_mac": "ff:ff:ff:ff:ff:ff",
}
WIRES: list[dict[str, Any]] = [
    {
        "ok": True,
        **ENDS,
        **TIMES,
        "answers": [
            {
                "path": "/hostname",
                "status": 200,
                "reason": "OK",
                "headers": {"content-length": "5"},
                "body": "web-1",
                "truncated": False,
            }
        ],
    },
    {"ok": False, "error": "timeout", "detail": "timed out", **ENDS, **TIMES, "data": "\xff"},
    {"ok": True, **TIMES, "data": "\x00\xff"},
    {
        "ok": True,
        **TIMES,
        "rcode": "NOERROR",
        "flags": ["AA", "QR"],
        "question": "web. SRV",
        "answer": [["web.", 30, "SRV", "0 100 80 web."]],
        "authority": [],
        "additional": [["web.", 30, "A", "10.96.0.5"]],
        "size": 99,
    },
    {
        "ok": False,
        "error": "name",
        "detail": "no",
        **TIMES,
        "addresses": [],
        "canonical_name": "",
        "code": "EAI_NONAME",
    },
    {"ok": True, **TIMES, "data": "nameserver 10.96.0.10\n"},
    {"ok": True, **TIMES, "links": {"lo": ["127.0.0.1", "::1"]}},
    {
        "ok": False,
        "error": "unreachable",
        "detail": "No route to host",
        **TIMES,
        "address": "10.0.0.9",
        "answered_by": "",
        "reported_by": "10.0.0.2",
        "icmp": [3, 1],
    },
    {
        "ok": True,
        **TIMES,
        "link": "eth0",
        "answers": [{"mac": "02:42:ac:12:00:03", "seconds": 0.1}],
    },
    {"ok": True, **TIMES, "link": "eth0", "packets": [PACKET]},
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.kind)
def test_requests_travel_as_ascii_json(request_: Request) -> None:
    """A request read back from its JSON is the same, with every byte and every field."""
    line = json.dumps(request_.to_json())

    assert line.isascii()
    assert request_from_json(json.loads(line)) == request_


@pytest.mark.parametrize(
    ("wire", "request_"), list(zip(WIRES, REQUESTS, strict=True)), ids=lambda each: str(each)[:12]
)
def test_replies_keep_everything_in_json(wire: dict[str, Any], request_: Request) -> None:
    """A reply of each kind written as evidence has all that the probe said, and reads back."""
    reply = reply_from_json(wire, request_)
    written = json.loads(json.dumps(reply.to_json()))

    assert written == {"request": json.loads(json.dumps(request_.to_json())), **wire}
    assert reply_from_json(written) == reply
    assert reply.outcome


def test_requests_of_no_known_kind_are_refused() -> None:
    """A kind that nobody knows is a usage error."""
    with pytest.raises(UsageError, match="dance"):
        request_from_json({"kind": "dance"})


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: HttpRequest("", 80), "address"),
        (lambda: HttpRequest("10.0.0.1", 0), "port"),
        (lambda: TcpRequest("10.0.0.1", 65536), "port"),
        (lambda: UdpRequest("10.0.0.1", -1), "port"),
        (lambda: PingRequest(""), "address"),
        (lambda: ArpRequest("fd00::5"), "IPv4"),
        (lambda: ArpRequest("10.0.0.1", gather=-1), "gathered"),
        (lambda: ArpWatchRequest("shop.example"), "IPv4"),
        (lambda: HttpRequest("10.0.0.1", timeout=0), "timeout"),
        (lambda: HttpRequest("10.0.0.1", timeout=float("nan")), "timeout"),
        (lambda: HttpRequest("10.0.0.1", path="nowhere"), "path"),
        (lambda: HttpRequest("10.0.0.1", path="/a b"), "space"),
        (lambda: HttpRequest("10.0.0.1", path="/ü"), "path"),
        (lambda: HttpRequest("10.0.0.1", also=("/\r\n",)), "path"),
        (lambda: HttpRequest("10.0.0.1", method="DELETE"), "DELETE"),
        (lambda: HttpRequest("10.0.0.1", host="a\r\nb"), "header"),
        (lambda: HttpRequest("10.0.0.1", headers=(("a", "ü€"),)), "header"),
        (lambda: HttpRequest.to("https://10.0.0.1/"), "http://"),
        (lambda: HttpRequest.to("10.0.0.1:80"), "http://"),
        (lambda: HttpRequest.to("http://u:p@10.0.0.1/"), "http://"),
        (lambda: HttpRequest.to("http://10.0.0.1:99999/"), "URL"),
        (lambda: HttpRequest.to("http://[::1/"), "URL"),
    ],
)
def test_impossible_requests_are_refused(make: Any, problem: str) -> None:
    """A request that can't be asked says so where it is made, not in the probe."""
    with pytest.raises(UsageError, match=problem):
        make()


@pytest.mark.parametrize(
    ("url", "address", "port", "path"),
    [
        ("http://10.96.0.5", "10.96.0.5", 80, "/"),
        ("http://web.shop:8080/a?b=c", "web.shop", 8080, "/a?b=c"),
        ("http://[fd00::5]:8080/", "fd00::5", 8080, "/"),
    ],
)
def test_urls_are_read_as_a_browser_reads_them(
    url: str, address: str, port: int, path: str
) -> None:
    """Address, port and path come from the URL."""
    request = HttpRequest.to(url)

    assert (request.address, request.port, request.path) == (address, port, path)


def reply(pod: str | None, *, error: ErrorClass | None = None, started: float = 0.0) -> Reply:
    """A reply of the web backend."""
    request = HttpRequest("10.96.0.5", 8080, "/hostname", also=("/clientip",))
    said = {"/hostname": pod, "/clientip": "10.244.1.9:4711"}
    answers = [{"path": path, "status": 200, "body": body} for path, body in said.items()]
    wire: dict[str, Any] = {"started": started, "answers": answers if pod else []}
    if error:
        wire |= {"error": str(error), "detail": "Connection refused"}
    return HttpReply.from_wire(wire, request)


MIXED = Replies(
    [
        reply("web-1", started=1.0),
        reply("web-2", started=1.25),
        reply(None, error=ErrorClass.REFUSED, started=1.5),
        reply("web-1", started=1.75),
    ],
    "Pod shop/client-a",
)


def test_replies_say_who_answered_in_order() -> None:
    """The order of answers is kept; what nobody answered is left out, and counted as errors."""
    assert MIXED.pods == ["web-1", "web-2", "web-1"]
    assert MIXED.counts() == {"web-1": 2, "web-2": 1}
    assert MIXED.client_ips == ["10.244.1.9"] * 3
    assert MIXED.error_counts() == {"refused": 1}
    assert [each.error for each in MIXED.errors] == ["refused"]
    assert MIXED.summary() == Counter({"web-1": 2, "web-2": 1, "refused": 1})
    assert f"{MIXED.error_counts()}" == "refused: 1"
    assert not MIXED.ok
    assert MIXED[:2].ok
    assert len(MIXED[:2]) == 2


def test_no_replies_are_not_ok() -> None:
    """Nothing asked is nothing proved."""
    nothing: Replies[Reply] = Replies([], "here")

    assert not nothing.ok
    assert "nothing was asked" in nothing.table()


def test_an_error_with_an_answer_is_still_an_error() -> None:
    """A connection that broke after the first answer names its Pod and is not ok."""
    broken = reply("web-1", error=ErrorClass.RESET)

    assert broken.pod == "web-1"
    assert not broken.ok


def test_the_table_shows_when_who_and_what() -> None:
    """Evidence has a line for each reply, with times relative to the first."""
    assert MIXED.table() == (
        "asked from Pod shop/client-a\n"
        "at ms  took ms  asked                               answered by  client seen  outcome\n"
        "  0.0      0.0  GET http://10.96.0.5:8080/hostname  web-1        10.244.1.9   200\n"
        "250.0      0.0  GET http://10.96.0.5:8080/hostname  web-2        10.244.1.9   200\n"
        "500.0      0.0  GET http://10.96.0.5:8080/hostname  -            -            "
        "refused: Connection refused\n"
        "750.0      0.0  GET http://10.96.0.5:8080/hostname  web-1        10.244.1.9   200\n"
    )


def test_replies_in_words_have_no_times() -> None:
    """Equal outcomes read the same, so that a wait can count them."""
    assert str(reply("web-1", started=1.0)) == str(reply("web-1", started=2.0)) == "web-1"
    assert str(MIXED[2]) == "refused: Connection refused"
    assert str(MIXED) == "web-1: 2, web-2: 1, refused: 1"


def test_replies_read_back_from_json() -> None:
    """A whole call's evidence reads back as the same replies."""
    again = Replies.from_json(json.loads(json.dumps(MIXED.to_json())))

    assert list(again) == list(MIXED)
    assert again.asked_from == MIXED.asked_from


@pytest.mark.parametrize(
    ("said", "ip"),
    [
        ("10.244.1.9:4711", "10.244.1.9"),
        ("[fd00::9]:4711", "fd00::9"),
        ("[::ffff:10.244.1.9]:4711", "10.244.1.9"),
    ],
)
def test_client_addresses_lose_their_port(said: str, ip: str) -> None:
    """The client address is the address alone, IPv4 also where the backend saw it as IPv6."""
    wire = {"answers": [{"path": "/clientip", "status": 200, "body": said}]}

    assert HttpReply.from_wire(wire, HttpRequest("10.0.0.1", path="/clientip")).client_ip == ip


def test_an_error_page_names_no_pod() -> None:
    """Only a 200 of /hostname says who answered; a 503's text is no Pod."""
    wire = {"answers": [{"path": "/hostname", "status": 503, "body": "sorry"}]}

    assert HttpReply.from_wire(wire, HttpRequest("10.0.0.1", path="/hostname")).pod is None


def test_a_peers_address_is_written_as_in_a_url() -> None:
    """Addresses with ports read as a user writes them."""
    wire = {"local": ["10.0.0.1", 1], "peer": ["fd00::5", 80]}
    both = TcpReply.from_wire(wire, TcpRequest("fd00::5", 80))

    assert (str(both.local), str(both.peer)) == ("10.0.0.1:1", "[fd00::5]:80")
