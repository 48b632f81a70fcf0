"""Explaining a Service: read, ask, judge; once more where the cluster was still catching up."""

from __future__ import annotations

import time

from servicelab.explain.asking import ask
from servicelab.explain.places import From, check_from, open_places
from servicelab.explain.reading import Access, read_snapshot
from servicelab.explain.walk import Walk, walk
from servicelab.verdict import NotProved, deadlines, eventually

ASK_SECONDS = 1.5
"""Seconds for one request. The kernel repeats a lost SYN after 1 s: one lost packet is no answer
that is missing."""

LIGHT_SECONDS = 0.7
"""The same where the whole walk must be over in 2 s: two rounds of it, and time to read."""


def explain(access: Access, namespace: str, name: str, from_: From | None = None) -> Walk:
    """Find the first broken layer of a Service.

    Args:
        access: the cluster.
        namespace: the Service's.
        name: its name.
        from_: where to ask from; None is wherever the Service gives cause for.

    Raises:
        UsageError: there is no such Service, or no such way to ask for it.
        InfrastructureError: the API server does not answer.
    """
    began = time.monotonic()
    s = read_snapshot(access, namespace, name)
    check_from(s, from_)
    found: list[Walk] = []
    with open_places(access, s, from_, light=False) as places:

        def once() -> Walk:
            seen = read_snapshot(access, namespace, name) if found else s
            asked = ask(access, seen, places, timeout=ASK_SECONDS)
            found.append(walk(seen, asked, time.monotonic() - began))
            return found[-1]

        try:
            return eventually(
                once,
                lambda walked: walked.broken is None or not walked.broken.lags,
                deadline=deadlines.current().layers_settle,
                expecting=f"{namespace}/{name} to have settled",
                every=0.2,
            )
        except NotProved:
            return found[-1]


def explain_lightly(access: Access, namespace: str, name: str) -> Walk:
    """The same as quickly as can be: only what is there is asked from, and only once.

    Raises:
        UsageError: there is no such Service.
        InfrastructureError: the API server does not answer.
    """
    began = time.monotonic()
    s = read_snapshot(access, namespace, name)
    with open_places(access, s, None, light=True) as places:
        asked = ask(access, s, places, timeout=LIGHT_SECONDS, thorough=False)
        return walk(s, asked, time.monotonic() - began)
