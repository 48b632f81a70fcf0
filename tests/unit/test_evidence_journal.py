"""The journal says what was asked during a test, who answered, and where packets went."""

from __future__ import annotations

import json
from typing import Any

from servicelab.report.evidence.journal import FIRST_KEPT, LAST_KEPT, MOST_FLOWS, Journal
from servicelab.vantage import (
    DnsRecord,
    DnsReply,
    DnsRequest,
    ErrorClass,
    HttpAnswer,
    HttpReply,
    HttpRequest,
    ReadFileRequest,
    Replies,
    Reply,
    ResolveReply,
    ResolveRequest,
    SocketAddress,
    TcpReply,
    TcpRequest,
)
from servicelab.vantage.place import FileReply

WEB = HttpRequest("10.96.0.7", 8080, "/hostname", also=("/clientip",))


def answered(pod: str = "web-1", *, at: float = 100.0, client: str = "10.244.1.9") -> HttpReply:
    said = {"/hostname": pod, "/clientip": f"{client}:4711"}
    return HttpReply(
        request=WEB,
        answers=tuple(
            HttpAnswer(path, 200, "OK", {}, text.encode()) for path, text in said.items()
        ),
        started=at,
        seconds=0.0021,
        connect_seconds=0.0004,
        local=SocketAddress("10.244.1.9", 4711),
    )


def refused(at: float = 100.5) -> TcpReply:
    return TcpReply(
        request=TcpRequest("10.244.1.12", 8080),
        error=ErrorClass.REFUSED,
        detail="connection refused",
        started=at,
    )


def heard(*replies: Reply, asked_from: str = "Pod lab-1/client") -> Journal:
    journal = Journal()
    journal.hear(Replies(replies, asked_from))
    return journal


def test_the_table_has_all_of_a_request() -> None:
    """Who asked whom, who answered, client address, own end, times and outcome, in order."""
    journal = heard(answered(at=100.5))
    journal.during = "test"
    journal.hear(Replies([refused(at=100.25)], "dev-worker"))

    head, first, second = (line.split("  ") for line in journal.table().splitlines())
    assert head[0] == "during"
    assert first[0].strip() == "test"
    assert [each.strip() for each in first if each.strip()] == [
        *("test", "0", "-", "0.0", "dev-worker", "tcp 10.244.1.12:8080", "-", "-", "-"),
        "refused: connection refused",
    ]
    assert [each.strip() for each in second if each.strip()] == [
        *("setup", "250", "0.4", "2.1", "Pod lab-1/client", "GET http://10.96.0.7:8080/hostname"),
        *("web-1", "10.244.1.9", "10.244.1.9:4711", "200"),
    ]
    assert Journal().table() == "nothing was asked\n"


def test_equal_requests_with_equal_answers_are_one_flow() -> None:
    """Addresses have their names, and the test's own namespace goes without saying."""
    journal = heard(answered("web-1"), answered("web-2"), answered("web-1"), refused())

    flows = journal.traffic({"10.96.0.7": "Service web"}, "lab-1")

    assert [
        (each["to_name"], each["to"], each["answered_by"], each["times"]) for each in flows
    ] == [
        ("Service web", "10.96.0.7:8080", "web-1", 2),
        ("Service web", "10.96.0.7:8080", "web-2", 1),
        ("", "10.244.1.12:8080", "refused", 1),
    ]
    assert {each["asked_from"] for each in flows} == {"Pod client"}
    assert [each["ok"] for each in flows] == [True, True, False]


def test_an_address_of_ipv6_has_its_name() -> None:
    """The port behind a bracketed address is not part of it."""
    reply = TcpReply(request=TcpRequest("fd00::7", 80))

    assert heard(reply).traffic({"fd00::7": "Service web"})[0]["to_name"] == "Service web"


def test_names_are_told_by_what_was_said() -> None:
    """A name server's answer is one flow in whatever order it lists the addresses."""

    def dns(*addresses: str) -> DnsReply:
        return DnsReply(
            request=DnsRequest("web.lab-1.svc.cluster.local"),
            rcode="NOERROR",
            flags=frozenset({"QR", "AA"}),
            answer=tuple(DnsRecord("web.", 30, "A", each) for each in addresses),
            peer=SocketAddress("10.96.0.10", 53),
        )

    resolve = ResolveReply(
        request=ResolveRequest("web"), error=ErrorClass.NAME, detail="no such name"
    )
    journal = heard(dns("10.0.0.1", "10.0.0.2"), dns("10.0.0.2", "10.0.0.1"), resolve)

    assert [(each["kind"], each["answered_by"], each["times"]) for each in journal.traffic({})] == [
        ("dns", "NOERROR 10.0.0.1 10.0.0.2", 2),
        ("resolve", "does not resolve", 1),
    ]
    written = "\n".join(journal.dns)
    assert ";; dns A web.lab-1.svc.cluster.local, asked from Pod lab-1/client" in written
    assert ";; NOERROR, flags: aa qr" in written
    assert "web. 30 A 10.0.0.2" in written
    assert "from 10.96.0.10:53" in written
    assert "name: no such name" in written


def test_a_look_at_the_place_itself_is_no_traffic() -> None:
    """Reading a file is in the table, and no packet went anywhere."""
    journal = heard(FileReply(request=ReadFileRequest("/etc/resolv.conf"), data=b"x"))

    assert journal.traffic({}) == []
    assert "read /etc/resolv.conf" in journal.table()


def test_a_storm_of_requests_is_counted_but_not_kept() -> None:
    """The first and the last stay, every one is counted, and the flows have an end too."""
    journal = heard(*(answered(f"web-{n}", at=n) for n in range(10_000)))

    assert len(journal.requests) == FIRST_KEPT + LAST_KEPT
    assert journal.left_out == 10_000 - FIRST_KEPT - LAST_KEPT
    lines = [json.loads(line) for line in journal.to_json_lines(5000).splitlines()]
    assert lines[-1]["answered_by"] == "web-9999"
    assert 10 < len(lines) < 30
    assert len(journal.flows) == MOST_FLOWS
    assert journal.not_told == 10_000 - MOST_FLOWS
    assert "of 10000 requests" in journal.table().splitlines()[-1]


def test_a_hostile_answer_is_one_short_printable_word() -> None:
    """A backend may say anything for its name: the table stays a table."""
    evil = "\x1b[2J\n<script>alert(1)</script>" + "x" * 60_000
    journal = heard(answered(evil, client=evil))

    assert len(journal.table().splitlines()) == 2
    assert "\x1b" not in journal.table()
    assert len(journal.table()) < 1000
    (flow,) = journal.traffic({})
    assert len(flow["answered_by"]) == 80


def test_what_others_ask_is_left_out() -> None:
    """While it is paused, and once the test has ended, nothing is taken down."""
    journal = Journal()
    with journal.paused():
        journal.hear(Replies([answered()], "dev-worker"))
    journal.hear(Replies([answered()], "dev-worker"))
    journal.ended = True
    journal.hear(Replies([answered()], "dev-worker"))

    assert len(journal.requests) == 1


def test_a_status_without_a_name_is_who_answered() -> None:
    """Something that is not the labs' backend answered: its status is what is known."""
    reply = HttpReply(request=WEB, answers=(HttpAnswer("/hostname", 404, "No", {}, b""),))
    found: dict[str, Any] = heard(reply).traffic({})[0]

    assert (found["answered_by"], found["by_pod"], found["ok"]) == ("HTTP 404", False, True)
