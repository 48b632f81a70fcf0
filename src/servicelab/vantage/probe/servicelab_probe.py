"""Asks where it stands and says what it met: the far end of every vantage point.

`servicelab_probe.py idle` keeps a Pod or container alive (it may be process 1 there).
`servicelab_probe.py channel` reads a JSON object from each line of standard input and writes one
line of ASCII JSON for each; it ends with its input. Operations, each with an `id` that comes back:

    {"id": 1, "op": "ask", "requests": […], "workers": 1}     replies, in order
    {"id": 2, "op": "stream", "request": {…}, "every": 0.02, "most": 1000}   starts repeating
    {"id": 3, "op": "peek", "last": 20}    the stream's replies so far
    {"id": 4, "op": "stop"}                ends it: all its replies
    {"id": 5, "op": "ping"}                {"version": …, "time": …}
    {"op": "bye"}                          exits, without an answer

The standard library and dnspython are all it needs. Started with -I and -S it finds neither its
own modules nor dnspython: it looks for the former beside itself, for the latter with the first DNS
question.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def channel() -> int:
    """Answer lines until the input ends."""
    # Behind the standard library, so that nothing beside this file can stand in its way. By hand,
    # because pathlib would be one more import at each start.
    sys.path.append(os.path.abspath(__file__).rpartition("/")[0])  # noqa: PTH100
    import probe_channel

    return probe_channel.channel()


def idle() -> int:
    """Wait for SIGTERM or SIGINT; bury the processes that others leave to process 1."""
    awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    print("idle", flush=True)
    while signal.sigwait(awaited) == signal.SIGCHLD:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    return 0


def main(arguments: list[str]) -> int:
    """Run one of the two roles."""
    roles = {"idle": idle, "channel": channel}
    if len(arguments) != 1 or arguments[0] not in roles:
        sys.stderr.write("usage: servicelab_probe.py idle|channel\n")
        return 2
    return roles[arguments[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
