"""Waiting for objects by watching them: told of each change, never asking again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from servicelab.verdict import Deadline, Missing, NotProved

#: The API server ends a watch after this many seconds at most, and it is begun again.
_WATCH_SECONDS = 30


def watch_until(
    listing: Callable[..., Any],
    until: Callable[[Mapping[str, Any]], bool | Missing],
    *,
    deadline: Deadline,
    expecting: str,
    tell: Callable[[Mapping[str, Any]], str],
    **selection: Any,
) -> dict[str, Any]:
    """Watch objects until together they satisfy.

    Args:
        listing: a list method of the official client, e.g. `core.list_namespaced_pod`.
        until: says whether the objects, by name, satisfy.
        deadline: how long to go on.
        expecting: what should come true, for the message.
        tell: the objects in words, for the message.
        selection: what to list: namespace, label_selector, field_selector.

    Returns:
        The objects by name, as they were when they satisfied.

    Raises:
        NotProved: they did not within the deadline; says what was last seen.
    """
    from kubernetes.client.exceptions import ApiException
    from kubernetes.watch import Watch

    end = time.monotonic() + deadline.seconds
    objects: dict[str, Any] = {}
    answer: bool | Missing = False
    while (left := end - time.monotonic()) > 0:
        page = listing(**selection)
        objects = {item.metadata.name: item for item in page.items}
        answer = until(objects)
        if answer:
            return objects
        watch = Watch()  # type: ignore[no-untyped-call]
        try:
            for event in watch.stream(  # type: ignore[no-untyped-call]
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
                answer = until(objects)
                if answer:
                    watch.stop()  # type: ignore[no-untyped-call]
                    return objects
        except ApiException as error:
            if error.status != 410:  # the version is too old: list again
                raise
    what = f" ({answer})" if isinstance(answer, Missing) else ""
    raise NotProved(
        f"expected {expecting}\n"
        f"  waited     {deadline.seconds:.1f} s ({deadline})\n"
        f"  last saw   {tell(objects)}{what}"
    )
