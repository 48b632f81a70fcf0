"""Waiting for objects by watching them: told of each change, never asking again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from servicelab.verdict import Deadline, Missing, eventually
from servicelab.verdict.waiting import SYSTEM_CLOCK, Clock

#: The API server ends a watch after this many seconds at most, and it is begun again.
_WATCH_SECONDS = 30

Watch = Callable[..., Iterable[Mapping[str, Any]]]


def watch_until(
    listing: Callable[..., Any],
    until: Callable[[Mapping[str, Any]], bool | Missing],
    *,
    deadline: Deadline,
    expecting: str,
    tell: Callable[[Mapping[str, Any]], str],
    clock: Clock = SYSTEM_CLOCK,
    watch: Watch | None = None,
    **selection: Any,
) -> dict[str, Any]:
    """Watch objects until together they satisfy.

    Args:
        listing: a list method of the official client, e.g. `core.list_namespaced_pod`.
        until: says whether the objects, by name, satisfy.
        deadline: how long to go on.
        expecting: what should come true, for the message.
        tell: the objects in words, for the message.
        clock: where time comes from.
        watch: gives the changes after a listing, as `kubernetes.watch.Watch.stream` does, which is
            what None stands for.
        selection: what to list: namespace, label_selector, field_selector.

    Returns:
        The objects by name, as they were when they satisfied.

    Raises:
        NotProved: they did not within the deadline; says what was last seen.
    """
    states = _states(listing, watch or _api_watch, deadline.seconds, clock, selection)
    seen: dict[str, Any] = {}

    def next_state() -> dict[str, Any]:
        nonlocal seen
        seen = next(states, seen)
        return seen

    return eventually(
        next_state,
        until,
        deadline=deadline,
        expecting=expecting,
        every=0,  # the watch itself waits for the next change
        tell=tell,
        clock=clock,
    )


def _states(
    listing: Callable[..., Any],
    watch: Watch,
    seconds: float,
    clock: Clock,
    selection: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """The objects by name: now, and after each change, until the time is up."""
    end = clock.monotonic() + seconds
    while (left := end - clock.monotonic()) > 0:
        page = listing(**selection)
        objects = {item.metadata.name: item for item in page.items}
        yield dict(objects)
        for event in watch(
            listing,
            resource_version=page.metadata.resource_version,
            timeout_seconds=max(1, min(_WATCH_SECONDS, round(left))),
            **selection,
        ):
            item = event["object"]
            if event["type"] == "DELETED":
                objects.pop(item.metadata.name, None)
            else:
                objects[item.metadata.name] = item
            yield dict(objects)


def _api_watch(listing: Callable[..., Any], **selection: Any) -> Iterator[Mapping[str, Any]]:
    from kubernetes.client.exceptions import ApiException
    from kubernetes.watch import Watch as ApiWatch
    from urllib3.exceptions import ProtocolError

    api_watch = ApiWatch()  # type: ignore[no-untyped-call]
    try:
        yield from api_watch.stream(listing, **selection)  # type: ignore[no-untyped-call]
    except ApiException as error:
        if error.status != 410:  # the version is too old: list again
            raise
    except ProtocolError:
        pass  # cut off on its way, by the API server's end or a proxy: list again
    finally:
        api_watch.stop()  # type: ignore[no-untyped-call]
