"""Whoever listens hears every reply, whichever thread asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from servicelab.vantage import Channel, HttpRequest, Replies, Vantage
from servicelab.vantage.hearing import heard_by

GET = HttpRequest("10.96.0.5", 8080)
REPLY = {"ok": True, "seconds": 0.1}


class Answering:
    """A channel to a probe to which every request was answered."""

    def exchange(self, line: bytes, timeout: float) -> bytes:
        question = json.loads(line)
        replies = [REPLY] * len(question.get("requests", [1, 1]))
        return json.dumps({"id": question["id"], "ok": True, "replies": replies}).encode()

    def close(self) -> None:
        return None


def vantage() -> Vantage:
    opens: Callable[[], Channel] = Answering
    return Vantage("here", opens)


def test_each_call_is_heard_while_somebody_listens() -> None:
    """Before and after, nobody hears; within, each call is heard once, from any thread."""
    heard: list[Replies[Any]] = []
    place = vantage()
    place.ask([GET])
    with heard_by(heard.append), ThreadPoolExecutor() as asking:
        place.ask([GET, GET])
        asking.submit(place.ask, [GET]).result()
    place.ask([GET])

    assert [len(each) for each in heard] == [2, 1]
    assert heard[0].asked_from == "here"
    assert heard[0][0].request == GET


def test_a_stream_is_heard_when_it_ends() -> None:
    """Its replies are heard once, not again with each look at it."""
    heard: list[Replies[Any]] = []
    with heard_by(heard.append):
        with vantage().continuously(GET) as stream:
            stream.so_far()
            assert heard == []
        assert [len(each) for each in heard] == [2]


def test_two_may_listen() -> None:
    """Each hears all, and stops by itself."""
    one: list[Replies[Any]] = []
    two: list[Replies[Any]] = []
    place = vantage()
    with heard_by(one.append):
        with heard_by(two.append):
            place.ask([GET])
        place.ask([GET])

    assert (len(one), len(two)) == (2, 1)
