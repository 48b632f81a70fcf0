"""One guest: started, told signals, waited for, ended; nothing of it is left."""

from __future__ import annotations

import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from servicelab.cache import state_root
from servicelab.engine.engine import last_lines
from servicelab.errors import InfrastructureError
from servicelab.host import process_identity
from servicelab.verdict import deadlines
from servicelab.vm.kernel_line import DATA, INIT, Lines, kernel_line
from servicelab.vm.orders import Orders
from servicelab.vm.processor import choose_processor
from servicelab.vm.record import Record, live_records, records_lock, sweep
from servicelab.vm.streams import Sinks, pass_on, take_lines

#: In memory: what the guest forces to the disk (etcd does so all the time) costs nothing there.
MEMORY_FOLDER = Path("/dev/shm")
CONSOLE = "console"
PREFIX = "servicelab-vm-"
#: What a kernel says of a process that it ended because nobody had memory left; not because a
#: container had used up its own share.
NO_MEMORY = re.compile(r"(?<!cgroup )[Oo]ut of memory: Killed process \d+ \((.*?)\)")
#: Ctrl-C this often, and the guest is ended without asking.
PATIENCE = 3


@dataclass(frozen=True, slots=True)
class Machine:
    """What a guest is made of.

    Attributes:
        kernel: the kernel's binary.
        data: the image with the engine's data.
        memory: MiB.
    """

    kernel: Path
    data: Path
    memory: int


class Guest:
    """A guest that was started.

    Args:
        process: its kernel.
        to_guest: the file descriptor that brings it signals.
        from_guest: the one that says how it stands.
        streams: what passes its output on.
        record: its own.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        to_guest: int,
        from_guest: int,
        streams: list[Thread],
        record: Record,
    ) -> None:
        self._process = process
        self._to_guest = to_guest
        self._from_guest = from_guest
        self._streams = streams
        self._record = record
        self._told = b""
        self._signals: list[int] = []
        self._give_up = 0.0

    @property
    def signals(self) -> tuple[int, ...]:
        """What it was sent."""
        return tuple(self._signals)

    @property
    def starved(self) -> tuple[str, ...]:
        """What its kernel ended for want of memory, by name."""
        return tuple(dict.fromkeys(NO_MEMORY.findall(self._console)))

    @property
    def _console(self) -> str:
        console = self._record.folder / CONSOLE
        return console.read_text(errors="replace") if console.exists() else ""

    def signal(self, number: int) -> None:
        """Send a signal to the command; it may be called from a signal handler."""
        self._signals.append(number)
        if number == signal.SIGTERM and not self._give_up:
            self._give_up = time.monotonic() + deadlines.current().guest_stopped.seconds
        if self._signals.count(signal.SIGINT) >= PATIENCE:
            self._give_up = time.monotonic()
        self._tell(f"signal {number}")

    def unread(self, stream: int) -> None:
        """Say that nobody reads the command's stdout (0) or stderr (1) any more."""
        self._tell(f"unread {stream}")

    def _tell(self, text: str) -> None:
        try:
            os.write(self._to_guest, f"{text}\n".encode())
        except OSError:
            return  # It is gone, which is what was asked for.

    def wait_until_it_runs(self) -> None:
        """Wait until the command is about to start.

        Raises:
            InfrastructureError: the guest did not come up.
        """
        limit = time.monotonic() + deadlines.current().guest_started.seconds
        line = self._next_line(limit)
        if line != "ready":
            self._kill()
            raise self._failure(line or "it did not come up", "did not start")

    def wait(self) -> int:
        """Wait for the command; gives its exit code, as a shell counts.

        Raises:
            InfrastructureError: the guest itself failed.
        """
        line = None
        while line is None and not (self._give_up and time.monotonic() >= self._give_up):
            line = self._next_line(time.monotonic() + 0.5)
        if line is None:
            self._kill()
            return 128 + (self._signals or [signal.SIGKILL])[-1]
        word, _, rest = line.partition(" ")
        if word != "exit":
            self._kill()
            raise self._failure(rest or "it went off", "failed")
        # All that the command printed is with us, once its kernel has ended.
        self._end()
        return int(rest)

    def _next_line(self, limit: float) -> str | None:
        """The next thing the guest says: "" if it ended, None if it says nothing in time."""
        poll = select.poll()
        poll.register(self._from_guest, select.POLLIN)
        while b"\n" not in self._told:
            left = limit - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            if not (data := os.read(self._from_guest, 4096)):
                return ""
            self._told += data
        line, _, self._told = self._told.partition(b"\n")
        return line.decode(errors="replace").strip()

    def drain(self) -> None:
        """Once it is gone: wait until all that it printed has been passed on."""
        for stream in self._streams:
            stream.join(deadlines.current().guest_stopped.seconds)

    def _end(self) -> None:
        try:
            self._process.wait(deadlines.current().guest_stopped.seconds)
        except subprocess.TimeoutExpired:
            self._kill()
        for stream in self._streams:
            stream.join()

    def _kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _failure(self, why: str, what: str) -> InfrastructureError:
        said = self._console
        # Two guests of one run may fail: they are on different processors.
        kept = state_root() / "logs" / f"guest-console-{self._record.processor}.log"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(said)
        panic = [line for line in said.splitlines() if "Kernel panic" in line]
        words = panic[0] if panic else last_lines(said)
        return InfrastructureError(
            f"the guest {what}: {why}; its console says: {words}", remedy=f"see {kept}"
        )


@contextmanager
def guest(machine: Machine, orders: Orders, sinks: Sinks) -> Iterator[Guest]:
    """Start a guest; in the end it is gone, whatever happened.

    Raises:
        InfrastructureError: it can't be started.
    """
    for tool in ("setpriv", "taskset"):
        if shutil.which(tool) is None:
            raise InfrastructureError(
                f"{tool}, which a guest is started by, is not on this machine",
                remedy="install util-linux",
            )
    check_memory(machine.memory)
    # The kernel's sockets are in it: their paths may have 107 characters only.
    folder = MEMORY_FOLDER / f"{PREFIX}{uuid.uuid4().hex[:8]}"
    with records_lock():
        sweep()
        processor = choose_processor(each.processor for each in live_records())
        record = Record(process_identity(), folder, processor, " ".join(orders.command)).write()
    started = None
    try:
        _fill(folder, machine, orders)
        for name in orders.writable:
            Path(name).mkdir(parents=True, exist_ok=True)
        started = _start(machine, record, sinks)
        record = record.started(process_identity(started._process.pid))
        yield started
    finally:
        record.forget()
        if started is not None:
            started.drain()


def check_memory(memory: int, guests: int = 1) -> None:
    """See that there is memory for guests.

    Args:
        memory: MiB of each.
        guests: how many are to run side by side.

    Raises:
        InfrastructureError: there is not.
    """
    free = shutil.disk_usage(MEMORY_FOLDER).free >> 20
    if guests > 1 and free < memory * guests:
        raise InfrastructureError(
            f"{guests} guests with {memory / 1024:.1f} GiB of memory each need "
            f"{memory * guests / 1024:.1f} GiB in {MEMORY_FOLDER}, which has {free / 1024:.1f} "
            "GiB left",
            remedy="take fewer with --guests",
        )
    if free < memory:
        raise InfrastructureError(
            f"a guest with {memory / 1024:.1f} GiB of memory needs as much in {MEMORY_FOLDER}, "
            f"which has {free / 1024:.1f} GiB left",
            remedy="give it less with --memory",
        )


def _fill(folder: Path, machine: Machine, orders: Orders) -> None:
    folder.mkdir(mode=0o700)
    (folder / DATA).symlink_to(machine.data)
    # By links without blanks: the kernel splits its command line at them.
    (folder / "python").symlink_to(Path(sys.executable).resolve())
    script = Path(__file__).with_name("init.py").read_text()
    (folder / INIT).write_text(f"#!{folder / 'python'} -IS\n{script}")
    (folder / INIT).chmod(0o700)
    (folder / "orders.json").write_text(orders.to_json())


def _start(machine: Machine, record: Record, sinks: Sinks) -> Guest:
    folder = record.folder
    out, err, told, reports, orders = (os.pipe() for _ in range(5))
    lines = Lines(out[1], err[1], to_guest=orders[0], from_guest=told[1], reports=reports[1])
    # The guest keeps a file open for each of the host's that it looks at.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    command = kernel_line(
        machine.kernel, folder, lines, memory=machine.memory, processor=record.processor
    )
    with (folder / CONSOLE).open("wb") as console:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder)},
            pass_fds=lines.all,
            # Ctrl-C must reach us alone: what the guest is told is ours to say.
            start_new_session=True,
        )
    for number in lines.all:
        os.close(number)
    started: list[Guest] = []

    streams = [
        pass_on(out[0], sinks.out, lambda: started[0].unread(0)),
        pass_on(err[0], sinks.err, lambda: started[0].unread(1)),
        take_lines(reports[0], sinks.reports),
    ]
    started.append(Guest(process, orders[1], told[0], streams, record))
    return started[0]
