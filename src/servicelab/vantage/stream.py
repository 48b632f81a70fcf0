"""One request repeated at an interval while something else happens."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Self

from servicelab.errors import InfrastructureError, UsageError
from servicelab.vantage.channel import ChannelFactory, Line
from servicelab.vantage.hearing import let_hear
from servicelab.vantage.replies import AnyReply, Replies
from servicelab.vantage.request import Request
from servicelab.vantage.wire import reply_from_json
from servicelab.verdict import deadlines

MOST_REPLIES = 20_000
"""Replies a stream keeps; 400 s at the default interval. It stops asking when it has them."""


class Stream(Generic[AnyReply]):
    """A continuous client; between entering and leaving it asks, afterwards `replies` is there.

    The requests go out one after the other, each at its turn or, if the one before took longer
    than the interval, at once: no turn is made up for.

    Args:
        name: of the vantage point.
        channel_factory: opens a channel of the stream's own.
        request: what to ask.
        every: seconds between the starts of two requests.
        most: replies to keep at most.
    """

    def __init__(
        self,
        name: str,
        channel_factory: ChannelFactory,
        request: Request,
        *,
        every: float,
        most: int = MOST_REPLIES,
    ) -> None:
        if every <= 0 or not 1 <= most <= MOST_REPLIES:
            raise UsageError(
                f"a stream needs an interval above 0 s and 1 to {MOST_REPLIES} replies, "
                f"not {every} s and {most}"
            )
        self.name = name
        self.request = request
        self._factory = channel_factory
        self._every = every
        self._most = most
        self._line: Line | None = None
        self._replies: Replies[AnyReply] | None = None

    @property
    def replies(self) -> Replies[AnyReply]:
        """All replies, once the stream has been left.

        Raises:
            UsageError: it is still running, or never ran.
        """
        if self._replies is None:
            raise UsageError("a stream's replies are there once its `with` block is left")
        return self._replies

    def so_far(self, last: int | None = None) -> Replies[AnyReply]:
        """The replies up to now (only the last ones, if a number is given), while it runs.

        Raises:
            ChannelBroken: the probe is gone.
        """
        if self._line is None:
            return self.replies
        return self._read(self._line, "peek", last=last)

    def __enter__(self) -> Self:
        line = Line(self._factory())
        try:
            line.ask(
                "stream",
                deadlines.current().probe_reached.seconds,
                request=self.request.to_json(),
                every=self._every,
                most=self._most,
            )
        except InfrastructureError:
            line.close()
            raise
        self._line = line
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        line, self._line = self._line, None
        if line is None:
            return
        try:
            self._replies = self._read(line, "stop")
            let_hear(self._replies)
        except InfrastructureError:
            # What went wrong inside the block is the news; this would hide it.
            if error is None:
                raise
        finally:
            line.close()

    def _read(self, line: Line, op: str, last: int | None = None) -> Replies[AnyReply]:
        details = {} if last is None else {"last": last}
        timeout = self.request.timeout + deadlines.current().probe_answers.seconds
        answer = line.ask(op, timeout, **details)
        replies = (reply_from_json(each, self.request) for each in answer["replies"])
        return Replies(replies, self.name)  # type: ignore[arg-type]
