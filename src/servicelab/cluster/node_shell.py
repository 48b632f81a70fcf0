"""Commands in nodes by shells that stay, one `docker exec` for many of them.

Each `docker exec` starts a client and several processes beside the command. A lab reads the nodes'
rules some hundreds of times.
"""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
import time
import uuid
import weakref
from collections import defaultdict
from contextlib import suppress
from threading import Lock
from typing import IO

from servicelab.engine.engine import COMMAND_TIMEOUT_S, Engine

BYE_SECONDS = 2.0
"""How long a shell may take to end once its input has ended, before it is killed."""


class NodeShells:
    """The shells of a cluster's nodes; each runs one command at a time, further ones are opened.

    Args:
        engine: whose containers the nodes are.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: dict[str, list[_Shell]] = defaultdict(list)
        self._lock = Lock()

    def run(self, node: str, *argv: str, timeout: float = COMMAND_TIMEOUT_S) -> str:
        """Run a command in a node, without input, and return what it printed.

        Args:
            node: the container's name.
            argv: the command.
            timeout: seconds after which it is given up.

        Raises:
            InfrastructureError: it failed or did not finish in time, or the node does not run.
        """
        with self._lock:
            waiting = self._idle[node]
            # One whose node died meanwhile, or was started again, has ended.
            waiting[:] = [shell for shell in waiting if shell.runs]
            shell = waiting.pop() if waiting else _Shell(self._engine, node)
        try:
            done = shell.run(argv, timeout)
        except BaseException:
            shell.close()
            raise
        with self._lock:
            self._idle[node].append(shell)
        if done.returncode:
            raise self._engine.failed(("exec", node, *argv), done.returncode, done.stderr)
        return done.stdout

    def close(self) -> None:
        """End the shells; those that are asked for later are opened anew."""
        with self._lock:
            shells = [shell for idle in self._idle.values() for shell in idle]
            self._idle.clear()
        for shell in shells:
            shell.close()


class _Shell:
    """One shell in one node."""

    def __init__(self, engine: Engine, node: str) -> None:
        self._engine = engine
        self._node = node
        self._mark = uuid.uuid4().hex
        self._ran = 0
        try:
            process = subprocess.Popen(
                [str(engine.docker_binary), "exec", "-i", node, "sh"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(engine.env),
                bufsize=0,
                # Ctrl-C on the terminal is for us: evidence may still be asked for afterwards.
                start_new_session=True,
            )
        except OSError as error:
            raise engine.unrunnable(error) from error
        self._process = process
        #: Not every cluster object is closed, such as a command's that only reads.
        self.close = weakref.finalize(self, _end, process)

    @property
    def runs(self) -> bool:
        """Whether it can be given a command."""
        return self._process.poll() is None

    def run(self, argv: tuple[str, ...], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; a shell that ends before it has failed, whatever docker says.

        Raises:
            InfrastructureError: it did not finish in time; the shell is of no use any more.
        """
        stdin, stdout, stderr = _pipes(self._process)
        self._ran += 1
        end = f"{self._mark}-{self._ran}-"
        # In a shell of its own, for `exec`: a program is meant, not what is built into the shell.
        script = (
            f"(exec {shlex.join(argv)}) </dev/null; printf '{end}%s\\n' $?; printf '{end}\\n' >&2\n"
        )
        out, err = _Printed(end.encode()), _Printed(end.encode())
        deadline = time.monotonic() + timeout
        with suppress(BrokenPipeError):  # what it said before it ended is read below
            stdin.write(script.encode())
        with selectors.DefaultSelector() as ready:
            ready.register(stdout, selectors.EVENT_READ, out)
            ready.register(stderr, selectors.EVENT_READ, err)
            while ready.get_map():
                for key, _ in ready.select(max(0.0, deadline - time.monotonic())):
                    printed: _Printed = key.data
                    if not printed.add(os.read(key.fd, 1 << 16)):
                        ready.unregister(key.fileobj)
                if time.monotonic() > deadline:
                    raise self._engine.unfinished(("exec", self._node, *argv), timeout)
        if out.whole and out.after:
            code = int(out.after)
        else:
            self.close()
            code = self._process.returncode or 1
        return subprocess.CompletedProcess(argv, code, out.text, err.text)


class _Printed:
    """What a command prints on one of its two outputs, up to the shell's mark."""

    def __init__(self, end: bytes) -> None:
        self._end = end
        self._data = bytearray()
        self._at = -1

    def add(self, data: bytes) -> bool:
        """Take in what was read; whether there is more to come."""
        # The mark may be cut in two.
        start = max(0, len(self._data) - len(self._end))
        self._data += data
        if self._at < 0:
            self._at = self._data.find(self._end, start)
        return bool(data) and not (self._at >= 0 and self._data.endswith(b"\n"))

    @property
    def whole(self) -> bool:
        """The mark has come."""
        return self._at >= 0

    @property
    def text(self) -> str:
        """What came before the mark."""
        return (self._data[: self._at] if self.whole else self._data).decode(errors="replace")

    @property
    def after(self) -> str:
        """What came after it."""
        return self._data[self._at + len(self._end) :].decode(errors="replace").strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a shell's input, which ends it; kill what does not end."""
    stdin, *outputs = _pipes(process)
    stdin.close()
    try:
        process.wait(BYE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for output in outputs:
        output.close()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdin, process.stdout, process.stderr
