"""A vantage point, with channels that a test controls."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from servicelab.errors import InfrastructureError, UsageError
from servicelab.vantage import ChannelBroken, HttpRequest, TcpRequest, Vantage
from servicelab.verdict import deadlines

Says = Callable[[dict[str, Any]], bytes]


def answering(question: dict[str, Any]) -> bytes:
    """What a sound probe says: every request was answered."""
    replies = [{"ok": True, "seconds": 0.1} for _ in question.get("requests", ())]
    return json.dumps({"id": question["id"], "ok": True, "replies": replies}).encode()


def broken(question: dict[str, Any]) -> bytes:
    """A channel whose far end has gone."""
    raise ChannelBroken("gone")


class Recorded:
    """A channel that notes what was asked of it."""

    def __init__(self, says: Says) -> None:
        self.says = says
        self.questions: list[dict[str, Any]] = []
        self.timeouts: list[float] = []
        self.closed = False

    def exchange(self, line: bytes, timeout: float) -> bytes:
        question = json.loads(line)
        self.questions.append(question)
        self.timeouts.append(timeout)
        return self.says(question)

    def close(self) -> None:
        self.closed = True


class Channels:
    """Opens one channel after the other."""

    def __init__(self, *says: Says) -> None:
        self._says = list(says)
        self.opened: list[Recorded] = []

    def __call__(self) -> Recorded:
        if not self._says:
            raise ChannelBroken("no way in")
        self.opened.append(Recorded(self._says.pop(0)))
        return self.opened[-1]


def then(*says: Says) -> Says:
    """One answer after the other."""
    left = list(says)
    return lambda question: left.pop(0)(question)


GET = HttpRequest("10.96.0.5", 8080)
POST = HttpRequest("10.96.0.5", 8080, method="POST", body=b"x")


def test_nothing_is_opened_before_the_first_question() -> None:
    """A vantage point costs nothing until it is asked, and one channel afterwards."""
    channels = Channels(answering)
    vantage = Vantage("here", channels)
    assert channels.opened == []

    vantage.ask([GET])
    vantage.ask([GET])

    assert len(channels.opened) == 1


def test_no_requests_ask_nothing() -> None:
    """An empty call is answered without the probe."""
    channels = Channels()

    assert len(Vantage("here", channels).ask([])) == 0


def test_a_channel_that_broke_is_opened_once_more() -> None:
    """A probe that was restarted between two calls is found again."""
    channels = Channels(then(answering, broken), answering)
    vantage = Vantage("here", channels)

    vantage.ask([GET])
    replies = vantage.ask([GET, GET])

    assert replies.ok
    assert len(replies) == 2
    assert channels.opened[0].closed


def test_it_is_not_opened_a_third_time() -> None:
    """A probe that breaks its second channel too is an infrastructure failure."""
    channels = Channels(then(answering, broken), broken, answering)
    vantage = Vantage("here", channels)
    vantage.ask([GET])

    with pytest.raises(ChannelBroken):
        vantage.ask([GET])
    assert len(channels.opened) == 2


def test_a_channel_that_never_worked_is_not_opened_again() -> None:
    """The first question to a probe that is not there fails at once, as infrastructure."""
    channels = Channels(broken, answering)

    with pytest.raises(InfrastructureError):
        Vantage("here", channels).ask([GET])
    assert len(channels.opened) == 1


@pytest.mark.parametrize(
    "request_", [POST, TcpRequest("10.96.0.5", 25, send=b"QUIT\r\n")], ids=["post", "tcp"]
)
def test_what_must_not_be_asked_twice_is_not(request_: HttpRequest | TcpRequest) -> None:
    """A POST, or bytes over TCP, may have arrived before the channel broke: no second try."""
    channels = Channels(then(answering, broken), answering)
    vantage = Vantage("here", channels)
    vantage.ask([GET])

    with pytest.raises(ChannelBroken):
        vantage.ask([GET, request_])
    assert len(channels.opened) == 1


def test_the_next_call_after_a_failure_opens_a_channel() -> None:
    """A vantage point recovers once its probe is back."""
    vantage = Vantage("here", Channels(broken, answering))
    with pytest.raises(ChannelBroken):
        vantage.ask([GET])

    assert vantage.ask([GET]).ok


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"hello", "not JSON"),
        (b'{"id": 99, "ok": true, "replies": []}', "another question"),
        (b"[]", "another question"),
    ],
)
def test_an_answer_that_is_not_ours_is_not_believed(said: bytes, problem: str) -> None:
    """An answer to another question, or garbage, ends the channel."""
    channels = Channels(lambda _: said)

    with pytest.raises(ChannelBroken, match=problem):
        Vantage("here", channels).ask([GET])
    assert channels.opened[0].closed


def test_too_few_replies_are_an_infrastructure_failure() -> None:
    """Replies that don't match their requests one by one prove nothing."""

    def short(question: dict[str, Any]) -> bytes:
        return json.dumps({"id": question["id"], "ok": True, "replies": []}).encode()

    with pytest.raises(InfrastructureError, match="0 replies to 1 requests"):
        Vantage("here", Channels(short)).ask([GET])


def test_a_probe_of_another_version_is_told_so() -> None:
    """A reply that lacks what it should have is not taken for an answer."""

    def strange(question: dict[str, Any]) -> bytes:
        replies = [{"ok": False, "error": "tired"}]
        return json.dumps({"id": question["id"], "ok": True, "replies": replies}).encode()

    with pytest.raises(InfrastructureError, match="can't be read"):
        Vantage("here", Channels(strange)).ask([GET])


def test_a_question_that_the_probe_refuses_says_why() -> None:
    """The probe's own words reach the reader."""

    def refusing(question: dict[str, Any]) -> bytes:
        return json.dumps({"id": question["id"], "ok": False, "detail": "no such thing"}).encode()

    with pytest.raises(InfrastructureError, match="no such thing"):
        Vantage("here", Channels(refusing)).ask([GET])


def test_the_deadline_of_a_call_follows_from_its_requests() -> None:
    """A call may take its requests' time-outs, shared by its workers, one more, and the margin."""
    channels = Channels(answering)
    vantage = Vantage("here", channels)
    vantage.ask([GET])
    margin = deadlines.current().probe_answers.seconds

    vantage.ask([HttpRequest("10.96.0.5", timeout=3.0)] * 10)
    vantage.ask([HttpRequest("10.96.0.5", timeout=3.0)] * 10, workers=5)

    assert channels.opened[0].timeouts[1:] == [33.0 + margin, 9.0 + margin]


def test_threads_take_turns() -> None:
    """Two threads never talk on one channel at the same time."""
    inside = threading.Semaphore(1)
    clashes: list[int] = []

    def careful(question: dict[str, Any]) -> bytes:
        if not inside.acquire(blocking=False):
            clashes.append(question["id"])
        threading.Event().wait(0.002)
        inside.release()
        return answering(question)

    vantage = Vantage("here", Channels(careful))
    threads = [threading.Thread(target=vantage.ask, args=([GET],)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert clashes == []


def test_web_asks_who_answers_and_which_client_it_saw() -> None:
    """`web` takes a URL, or an address and a port, and asks both questions on one connection."""
    channels = Channels(answering)
    vantage = Vantage("here", channels)

    vantage.web("http://10.96.0.5:8080/ignored", times=2, host="shop.example")
    vantage.web("10.96.0.5", 8080)

    first, second = (question["requests"] for question in channels.opened[0].questions)
    assert len(first) == 2
    assert (first[0]["host"], second[0].get("host")) == ("shop.example", None)
    for request in (*first, *second):
        assert (request["address"], request["port"]) == ("10.96.0.5", 8080)
        assert (request["path"], request["also"]) == ("/hostname", ["/clientip"])


def test_web_wants_one_port() -> None:
    """A URL beside a port is a contradiction, so it is refused."""
    with pytest.raises(UsageError, match="its own port"):
        Vantage("here", Channels()).web("http://10.96.0.5:8080", 80)


@pytest.mark.parametrize("workers", [0, 65])
def test_workers_are_bounded(workers: int) -> None:
    """A number of workers that makes no sense is refused before anything is asked."""
    with pytest.raises(UsageError, match="workers"):
        Vantage("here", Channels()).ask([GET], workers=workers)


def test_a_stream_has_a_channel_of_its_own_and_closes_it() -> None:
    """While a stream runs its vantage point's own channel is free; afterwards it is hung up."""
    channels = Channels(answering, answering)
    vantage = Vantage("here", channels)
    with vantage.continuously(GET) as stream:
        vantage.ask([GET])
        with pytest.raises(UsageError, match="left"):
            _ = stream.replies

    stream_channel, own_channel = channels.opened
    assert [each["op"] for each in stream_channel.questions] == ["stream", "stop"]
    assert stream_channel.closed
    assert not own_channel.closed


def test_what_went_wrong_inside_a_stream_is_not_hidden() -> None:
    """An error in the block is the one that is raised, also if the stream is lost too."""
    with (
        pytest.raises(ZeroDivisionError),
        Vantage("here", Channels(then(answering, broken))).continuously(GET),
    ):
        raise ZeroDivisionError


def test_a_stream_that_is_lost_is_an_infrastructure_failure() -> None:
    """A stream whose channel broke has no replies to show."""
    channels = Channels(then(answering, broken))
    stream = Vantage("here", channels).continuously(GET)

    with pytest.raises(ChannelBroken), stream:
        pass
    assert channels.opened[0].closed


def test_a_stream_wants_a_sensible_interval() -> None:
    """No interval, or no replies to keep, is refused."""
    for details in ({"every": 0.0}, {"most": 0}, {"most": 10**9}):
        with pytest.raises(UsageError, match="stream"):
            Vantage("here", Channels()).continuously(GET, **details)  # type: ignore[arg-type]


def test_closing_hangs_up() -> None:
    """Leaving a vantage point closes its channel; closing twice does no harm."""
    channels = Channels(answering)
    with Vantage("here", channels) as vantage:
        vantage.ask([GET])
    vantage.close()

    assert channels.opened[0].closed
