"""A watch is told of each change, ends in time, and says what it last saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from types import SimpleNamespace as Object
from typing import Any

import pytest
from kubernetes.client import ApiException
from urllib3.exceptions import NewConnectionError, ProtocolError

from servicelab.verdict import Deadline, Missing, NotProved
from servicelab.verdict.message import heading
from servicelab.verdict.watching import _api_watch, watch_until

TEN = Deadline("pod_ready", 10)


class FakeClock:
    """Time that passes while the watch is silent."""

    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeApi:
    """Lists what is there, then tells of changes, each some seconds after the last."""

    def __init__(self, *names: str, clock: FakeClock) -> None:
        self.names = list(names)
        self.clock = clock
        self.changes: list[tuple[float, str, str]] = []
        self.listed: list[dict[str, Any]] = []
        self.watched: list[dict[str, Any]] = []

    def then(self, after: float, kind: str, name: str) -> FakeApi:
        """A change, so many seconds after the one before."""
        self.changes.append((after, kind, name))
        return self

    def list(self, **selection: Any) -> Any:
        """As the official client's list methods."""
        self.listed.append(selection)
        version = Object(resource_version=str(len(self.listed)))
        return Object(items=[thing(name) for name in self.names], metadata=version)

    def watch(self, listing: Any, **selection: Any) -> Iterator[Mapping[str, Any]]:
        """As kubernetes.watch.Watch.stream."""
        assert listing == self.list
        self.watched.append(selection)
        end = self.clock.now + selection["timeout_seconds"]
        while self.changes and self.clock.now + self.changes[0][0] <= end:
            after, kind, name = self.changes.pop(0)
            self.clock.now += after
            self.names = [each for each in self.names if each != name]
            if kind != "DELETED":
                self.names.append(name)
            yield {"type": kind, "object": thing(name)}
        if self.changes:
            after, kind, name = self.changes[0]
            self.changes[0] = (after - (end - self.clock.now), kind, name)
        self.clock.now = end


def thing(name: str) -> Any:
    """An object with a name."""
    return Object(metadata=Object(name=name))


@pytest.fixture
def clock() -> FakeClock:
    """A clock of the test's own."""
    return FakeClock()


def wait(api: FakeApi, wanted: set[str], deadline: Deadline = TEN) -> dict[str, Any]:
    """Wait until exactly these are there."""
    return watch_until(
        api.list,
        lambda seen: set(seen) == wanted or Missing(f"{len(seen)} of {len(wanted)}"),
        deadline=deadline,
        expecting="the Pods to be there",
        tell=lambda seen: ", ".join(sorted(seen)) or "none",
        clock=api.clock,
        watch=api.watch,
        namespace="lab",
    )


def test_what_is_there_already_needs_no_watch(clock: FakeClock) -> None:
    """The listing satisfies: no time passes, and no watch is begun."""
    api = FakeApi("a", "b", clock=clock)

    assert set(wait(api, {"a", "b"})) == {"a", "b"}
    assert api.watched == []
    assert clock.now == 50


def test_additions_and_deletions_are_taken_in_as_they_come(clock: FakeClock) -> None:
    """It ends with the very change that satisfies."""
    api = FakeApi("a", clock=clock)
    api.then(1, "ADDED", "b").then(2, "DELETED", "a").then(3, "ADDED", "c")

    assert set(wait(api, {"b"})) == {"b"}
    assert clock.now == 53


def test_the_watch_goes_on_from_the_listing(clock: FakeClock) -> None:
    """Listing and watch ask for the same objects, and nothing in between is missed."""
    api = FakeApi(clock=clock).then(1, "ADDED", "a")

    wait(api, {"a"})

    assert api.listed == [{"namespace": "lab"}]
    assert api.watched == [{"namespace": "lab", "resource_version": "1", "timeout_seconds": 10}]


def test_a_watch_that_ends_is_begun_again(clock: FakeClock) -> None:
    """The API server ends a watch after 30 s: what is there is listed anew, and watched on."""
    api = FakeApi(clock=clock).then(70, "ADDED", "a")

    assert set(wait(api, {"a"}, Deadline("slow", 100))) == {"a"}
    assert [asked["timeout_seconds"] for asked in api.watched] == [30, 30, 30]
    assert clock.now == 120


def test_the_message_is_that_of_every_wait(clock: FakeClock) -> None:
    """What was expected, how long it was waited, and what was last seen and missing."""
    api = FakeApi(clock=clock).then(2, "ADDED", "a")

    with pytest.raises(NotProved) as failed, heading("CIP-03 not proved (iptables)"):
        wait(api, {"a", "b"})

    first, waited, last = str(failed.value).splitlines()[:3]
    assert first == "CIP-03 not proved (iptables): expected the Pods to be there"
    assert waited.startswith("  waited     10.0 s (deadlines.pod_ready), ")
    assert last.startswith("  last saw   a: 1 of 2 at 10.0 s (before: 1x none: 0 of 2")


def test_it_ends_at_its_deadline(clock: FakeClock) -> None:
    """What comes true later is too late."""
    api = FakeApi(clock=clock).then(12, "ADDED", "a")

    with pytest.raises(NotProved):
        wait(api, {"a"})

    assert clock.now == 60


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ProtocolError("Connection broken"), True),
        (ApiException(status=410), True),
        (ApiException(status=403), False),
        (NewConnectionError(None, "refused"), False),  # type: ignore[arg-type]
    ],
)
def test_a_watch_that_is_cut_off_is_begun_again(
    error: Exception, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is too old; what the API server refuses, or an end of it, is told."""

    def stream(self: Any, listing: Any, **selection: Any) -> Iterator[Any]:
        yield {"type": "ADDED", "object": thing("web")}
        raise error

    monkeypatch.setattr("kubernetes.watch.Watch.stream", stream)

    with nullcontext() if passes else pytest.raises(type(error)):
        assert len(list(_api_watch(lambda: None))) == 1
