"""Who else hears the replies: a run keeps what its tests asked, and the tests needn't know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servicelab.vantage.replies import Replies

Listener = Callable[["Replies[Any]"], None]

# Of the process, not of a context: a test may ask from threads of its own.
_listeners: list[Listener] = []
_deaf: list[None] = []


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let somebody hear the replies to everything that is asked within, from any thread.

    Args:
        listener: called in the thread that asked, once for each call of `ask` and once for each
            stream when it has ended.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def unheard() -> Iterator[None]:
    """Let nobody hear what is asked within, from any thread: it is not the test's asking."""
    _deaf.append(None)
    try:
        yield
    finally:
        _deaf.pop()


def let_hear(replies: Replies[Any]) -> None:
    """Tell whoever listens."""
    if _deaf:
        return
    for listener in tuple(_listeners):
        listener(replies)
