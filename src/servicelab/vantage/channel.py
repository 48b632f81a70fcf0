"""The line to a probe: one line of JSON there, one line back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from servicelab.errors import InfrastructureError

PROBE_PATH = "/usr/lib/servicelab/servicelab_probe.py"
"""Where the probe image keeps the probe."""

PROBE_ARGV = ("python3", "-I", "-S", PROBE_PATH)
"""How to run it there; its role (`idle` or `channel`) follows. -I and -S because nothing of the
environment or of site-packages is wanted; the probe adds the latter for dnspython itself."""


class ChannelBroken(InfrastructureError):
    """The line to a probe is closed or silent; says nothing about what was asked."""


class Channel(Protocol):
    """A line to one running probe. Used by one thread at a time; `Line` sees to that."""

    def exchange(self, line: bytes, timeout: float) -> bytes:
        """Send one line, without its newline, and wait for the line that answers it.

        Args:
            line: ASCII JSON.
            timeout: seconds until the answer must be there.

        Raises:
            ChannelBroken: the line is closed, or the answer did not come in time. The channel
                is of no use afterwards.
        """

    def close(self) -> None:
        """Hang up; the probe at the other end exits. Twice does no harm."""


ChannelFactory = Callable[[], Channel]
"""Opens a channel; raises ChannelBroken if it can't."""


class Lines:
    """Bytes as they come in, handed out line by line."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._whole: list[bytes] = []

    def add(self, data: bytes) -> bytes | None:
        """Take in some bytes; gives the oldest whole line, without its newline, if there is one.

        A line of many pieces is joined once, when it is whole.
        """
        first, *rest = data.split(b"\n")
        self._pieces.append(first)
        for piece in rest:
            self._whole.append(b"".join(self._pieces))
            self._pieces = [piece]
        return self.take()

    def take(self) -> bytes | None:
        """The oldest whole line, None if there is none yet."""
        return self._whole.pop(0) if self._whole else None


class Line:
    """Numbered questions over a channel, so that no answer is taken for another's.

    Args:
        channel: an open channel; closed by `close`.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = 0

    def ask(self, op: str, timeout: float, **details: Any) -> dict[str, Any]:
        """Have the probe do one thing.

        Raises:
            ChannelBroken: see Channel.exchange; also if the answer is not the one to this
                question.
            InfrastructureError: the probe refused the question.
        """
        self._number += 1
        question = {"id": self._number, "op": op, **details}
        said = self._channel.exchange(json.dumps(question).encode("ascii"), timeout)
        try:
            answer = json.loads(said)
        except ValueError as error:
            self.close()
            raise ChannelBroken(
                f"the probe answered something that is not JSON: {said[:200]!r}"
            ) from error
        if not isinstance(answer, dict) or answer.get("id") != self._number:
            self.close()
            raise ChannelBroken(f"the probe answered another question: {said[:200]!r}")
        if not answer.get("ok"):
            raise InfrastructureError(f"the probe refused to {op}: {answer.get('detail', '')}")
        return answer

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()
