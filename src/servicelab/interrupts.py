"""SIGTERM handled as Ctrl-C is: what was begun is undone, and the lease tells the rest."""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"stopped by {signal.Signals(signum).name}")


def terminate_like_ctrl_c() -> None:
    """From now on SIGTERM raises KeyboardInterrupt in the main thread.

    Does nothing outside the main thread, where Python does not allow it.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def wait_for_interrupt() -> None:
    """Wait for Ctrl-C or SIGTERM, and return when one has come."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            signal.pause()
