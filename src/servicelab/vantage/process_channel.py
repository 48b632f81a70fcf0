"""A probe that is a process of this machine, or reached through one such as `docker exec -i`."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence

from servicelab.vantage.channel import ChannelBroken, Lines

BYE_SECONDS = 2.0
"""How long a process may take to end once its input has ended, before it is killed."""


class ProcessChannel:
    """Standard input and output of a child process.

    Args:
        argv: the command; it must run the probe's `channel` role.
        env: its whole environment; None inherits ours.

    Raises:
        ChannelBroken: the command can't be run.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._argv = list(argv)
        self._lines = Lines()
        # A file, not a pipe: nobody reads it while all is well, and a full pipe would block.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the channel
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=None if env is None else dict(env),
                bufsize=0,
                # Ctrl-C on the terminal is for us: evidence may still be asked for afterwards.
                start_new_session=True,
            )
        except OSError as error:
            self._stderr.close()
            raise ChannelBroken(f"{self._argv[0]} can't be run: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin.fileno()
        self._stdout = self._process.stdout.fileno()
        os.set_blocking(self._stdin, False)
        self._open = True

    def exchange(self, line: bytes, timeout: float) -> bytes:
        """Send one line and wait for the line that answers it; see Channel."""
        if not self._open:
            raise ChannelBroken(f"the channel to the probe ({self._argv[0]}) is closed")
        deadline = time.monotonic() + timeout
        try:
            self._write(line + b"\n", deadline)
            return self._read(deadline)
        except ChannelBroken:
            self.close()
            raise

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._stdin, select.POLLOUT, deadline)
            try:
                view = view[os.write(self._stdin, view) :]
            except BrokenPipeError as error:
                raise ChannelBroken(self._why()) from error

    def _read(self, deadline: float) -> bytes:
        line = self._lines.take()
        while line is None:
            self._wait(self._stdout, select.POLLIN, deadline)
            data = os.read(self._stdout, 1 << 16)
            if not data:
                raise ChannelBroken(self._why())
            line = self._lines.add(data)
        return line

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise ChannelBroken(f"the probe ({self._argv[0]}) did not answer in time")

    def _why(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(BYE_SECONDS)
        self._stderr.seek(0)
        words = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        said = words[-1] if words else "it said nothing"
        return f"the probe ({self._argv[0]}) ended with code {self._process.returncode}: {said}"

    def close(self) -> None:
        """End the input, which ends the probe; kill what does not end."""
        if not self._open:
            return
        self._open = False
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(BYE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._stderr.close()
