"""Standard error past pytest's capture: what takes minutes is seen while it happens."""

from __future__ import annotations

import io
import sys

import pytest


class Uncaptured(io.TextIOBase):
    """A stream that writes to the session's real standard error.

    Args:
        config: of the session, whose capturing is set aside for each piece of text.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._begun = False

    def writable(self) -> bool:
        """It can be written to."""
        return True

    def write(self, text: str) -> int:
        """Write text at once; the first on a line of its own, below pytest's dots."""
        if self._capture is None:
            self._put(text)
        else:
            with self._capture.global_and_fixture_disabled():
                self._put(text)
        return len(text)

    def _put(self, text: str) -> None:
        sys.stderr.write(text if self._begun else f"\n{text}")
        sys.stderr.flush()
        self._begun = True
