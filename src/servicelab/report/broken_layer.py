"""Beside a claim that was not proved: the first broken layer of its Services.

The walk may take as long as `layers_walked` says, and whatever goes wrong in it is one more line;
the test's own failure stands first and stays what it is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from servicelab.errors import ServicelabError
from servicelab.report.evidence.keeper import labs_of
from servicelab.verdict import deadlines
from servicelab.verdict.selection import CLAIM_TEST

if TYPE_CHECKING:
    from servicelab.explain import Walk
    from servicelab.lab import Lab

#: More Services are not walked: the probes answer one call after the other.
_MOST = 4
LEAD = "first broken layer: "


@dataclass(frozen=True, slots=True)
class _Target:
    """A Service to walk."""

    lab: Lab
    name: str

    def walk(self) -> Walk:
        from servicelab.explain import Access, explain_lightly

        return explain_lightly(Access(self.lab.cluster), self.lab.namespace, self.name)


class BrokenLayer:
    """A plugin of pytest."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note the layer on the exception before anybody makes a report of it."""
        error = call.excinfo.value if call.excinfo else None
        if error is not None and call.when != "teardown" and _is_unproved(item, error):
            for note in broken_layers(list(labs_of(item)), str(error)):
                error.add_note(note)
        return (yield)


def broken_layers(labs: Sequence[Lab], message: str) -> list[str]:
    """What walking the Services of labs gives, a note for each that is broken.

    Args:
        labs: where they are.
        message: of the failure; the Services that it names are walked, else all.
    """
    from servicelab.vantage.hearing import unheard

    if not labs:
        return []
    seconds = deadlines.current().layers_walked.seconds
    end = time.monotonic() + seconds
    walking = ThreadPoolExecutor(max_workers=_MOST + 1, thread_name_prefix="walk")
    # What fails in there is asked for, never raised: nothing may come before the test's failure.
    with unheard():
        looking = walking.submit(_targets, labs, message)
        wait([looking], seconds)
        targets = looking.result() if _is_sound(looking) else []
        walks = {walking.submit(target.walk): target for target in targets}
        wait(walks, max(0.0, end - time.monotonic()))
    # A call that is late ends by its own time-out.
    walking.shutdown(wait=False, cancel_futures=True)
    futures: list[Future[Any]] = [looking, *walks]
    errors = [each.exception() for each in futures if each.done() and not each.cancelled()]
    late = not all(each.done() and not each.cancelled() for each in futures)
    return [
        *_told([(target, each.result()) for each, target in walks.items() if _is_sound(each)]),
        *(f"(looking for the broken layer failed: {_in_words(each)})" for each in errors if each),
        *([f"(the broken layer was not found within {seconds:g} s)"] if late else []),
    ]


def _is_unproved(item: pytest.Item, error: BaseException) -> bool:
    """Whether a claim's test failed by itself: not skipped, not stopped, not interrupted."""
    return (
        CLAIM_TEST in item.stash
        and isinstance(error, Exception | pytest.fail.Exception)
        and not isinstance(error, ServicelabError | pytest.skip.Exception)
        and "verdict" not in dict(item.user_properties)
    )


def _targets(labs: Sequence[Lab], message: str) -> list[_Target]:
    """The Services to walk: those that the message names or gives the address of, else all."""
    services: list[tuple[Lab, Any]] = [
        (lab, each)
        for lab in labs
        for each in lab.core.list_namespaced_service(lab.namespace).items
    ]
    found = [(_Target(lab, each.metadata.name), each) for lab, each in services]
    named = [target for target, each in found if _is_named(each, message)]
    return (named or [target for target, _ in found])[:_MOST]


def _is_named(service: Any, message: str) -> bool:
    words = [f"{service.metadata.namespace}/{service.metadata.name}", service.spec.cluster_ip or ""]
    words.append(f"{service.metadata.name}.{service.metadata.namespace}")
    return any(
        word not in ("", "None") and re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", message)
        for word in words
    )


def _told(walked: Sequence[tuple[_Target, Walk]]) -> list[str]:
    broken = [
        f"{LEAD}{walk.first_broken}: Service {target.name}: {walk.sentence}\n"
        f"  try        {walk.try_}"
        for target, walk in walked
        if walk.broken
    ]
    if broken or not walked:
        return broken
    sound = ", ".join(target.name for target, walk in walked if walk.first_broken == "none")
    return [f"{LEAD}none (Service {sound})"] if sound else []


def _is_sound(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _in_words(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
