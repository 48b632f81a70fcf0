"""A guest's life, with a small program in its kernel's place."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servicelab.errors import InfrastructureError
from servicelab.verdict import deadlines
from servicelab.vm import guest as guests
from servicelab.vm.guest import Guest, Machine, guest
from servicelab.vm.kernel_line import Lines
from servicelab.vm.orders import Orders, orders_for
from servicelab.vm.record import live_records, records_root
from servicelab.vm.streams import Sinks, pass_on, take_lines

HEAD = "import os, sys\nout, err, to, told, reports = map(int, sys.argv[2:])\n"


def say(line: str) -> str:
    return f"os.write(told, b'{line}\\n')\n"


READY = say("ready")


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orders:
    """Orders, with the guest's folder and the cache below the test's."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(guests, "MEMORY_FOLDER", tmp_path / "memory")
    (tmp_path / "memory").mkdir()
    return orders_for(["true"], modules=tmp_path, cwd=tmp_path)


@contextmanager
def started(
    monkeypatch: pytest.MonkeyPatch,
    orders: Orders,
    program: str,
    reports: Callable[[bytes], None] | None = None,
) -> Iterator[tuple[Guest, list[bytes]]]:
    """The program as a guest's kernel, and what it printed on stdout, once it has ended."""

    def line(kernel: Path, folder: Path, lines: Lines, **_: object) -> list[str]:
        return [sys.executable, "-c", HEAD + program, str(folder), *map(str, lines.all)]

    monkeypatch.setattr(guests, "kernel_line", line)
    source, into = os.pipe()
    printed: list[bytes] = []
    taking = take_lines(source, printed.append)
    machine = Machine(Path("linux"), Path("data"), 1)
    try:
        with guest(machine, orders, Sinks(into, into, reports)) as running:
            yield running, printed
    finally:
        os.close(into)
        taking.join()


def nothing_left(tmp_path: Path) -> bool:
    return not list((tmp_path / "memory").iterdir()) and not list(records_root().glob("*.json"))


def test_output_and_exit_code_are_passed_on(
    monkeypatch: pytest.MonkeyPatch, orders: Orders, tmp_path: Path
) -> None:
    """All of it, and nothing is left."""
    heard: list[bytes] = []
    program = READY + "os.write(out, b'a\\n'); os.write(reports, b'{}\\n')\n" + say("exit 3")
    with started(monkeypatch, orders, program, heard.append) as (running, printed):
        assert [record.command for record in live_records()] == ["true"]
        running.wait_until_it_runs()

        assert running.wait() == 3

    assert printed == [b"a"]
    assert heard == [b"{}"]
    assert nothing_left(tmp_path)
    assert live_records() == []


def test_signals_reach_the_guest(monkeypatch: pytest.MonkeyPatch, orders: Orders) -> None:
    """As lines; what was sent is known."""
    program = READY + "os.write(out, os.read(to, 99))\n" + say("exit 0")
    with started(monkeypatch, orders, program) as (running, printed):
        running.wait_until_it_runs()
        running.signal(signal.SIGTERM)

        assert running.wait() == 0
        assert running.signals == (signal.SIGTERM,)

    assert printed == [b"signal 15"]


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("print('Kernel panic: x\\nPID 1')\n", "guest did not start: .* says: Kernel panic: x;"),
        (say("failed mount: no such device"), "did not start: failed mount: no such device"),
        (READY + "print('Oops')\n", "the guest failed: it went off; .* Oops"),
        (READY + say("failed syncfs"), "the guest failed: syncfs"),
    ],
)
def test_a_guest_that_fails_says_so_with_its_console(
    monkeypatch: pytest.MonkeyPatch, orders: Orders, tmp_path: Path, program: str, says: str
) -> None:
    """Before the command runs, and while it does."""
    with (
        pytest.raises(InfrastructureError, match=says),
        started(monkeypatch, orders, program) as (running, _),
    ):
        _run(running)

    assert nothing_left(tmp_path)


SHORT_OF_MEMORY = """
print('Memory cgroup out of memory: Killed process 7 (hog) total-vm:9kB')
print('Out of memory: Killed process 8 (kube-apiserver) total-vm:9kB')
print('Out of memory: Killed process 9 (kube-apiserver) total-vm:9kB', flush=True)
"""


@pytest.mark.parametrize(("program", "names"), [("", ()), (SHORT_OF_MEMORY, ("kube-apiserver",))])
def test_what_was_ended_for_want_of_memory_is_known(
    monkeypatch: pytest.MonkeyPatch, orders: Orders, program: str, names: tuple[str, ...]
) -> None:
    """For the guest's, not for a container's own share."""
    with started(monkeypatch, orders, READY + program + say("exit 0")) as (running, _):
        assert _run(running) == 0
        assert running.starved == names


def _run(running: Guest) -> int:
    running.wait_until_it_runs()
    return running.wait()


@pytest.fixture
def _impatient() -> Iterator[None]:
    before = deadlines.use(deadlines.parse(["guest_started=0.3", "guest_stopped=0.3"]))
    yield
    deadlines.use(before)


HANGS = "import time; time.sleep(60)\n"


@pytest.mark.usefixtures("_impatient")
def test_a_guest_that_hangs_is_ended(
    monkeypatch: pytest.MonkeyPatch, orders: Orders, tmp_path: Path
) -> None:
    """When it does not start in time."""
    with (
        pytest.raises(InfrastructureError, match="did not start: it did not come up"),
        started(monkeypatch, orders, HANGS) as (running, _),
    ):
        running.wait_until_it_runs()

    assert nothing_left(tmp_path)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(("signals", "code"), [([signal.SIGTERM], 143), ([signal.SIGINT] * 3, 130)])
def test_a_command_that_ignores_signals_is_ended(
    monkeypatch: pytest.MonkeyPatch, orders: Orders, signals: list[signal.Signals], code: int
) -> None:
    """Some time after SIGTERM, or with the third Ctrl-C."""
    with started(monkeypatch, orders, READY + HANGS) as (running, _):
        running.wait_until_it_runs()
        for number in signals:
            running.signal(number)

        assert running.wait() == code


def test_what_an_ended_command_printed_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, orders: Orders
) -> None:
    """All of it is there when the guest is gone, also where it was not asked to end."""
    program = "os.write(out, b'last words\\n' * 1000)\n" + READY + HANGS
    with started(monkeypatch, orders, program) as (running, printed):
        running.wait_until_it_runs()
        for _ in range(3):
            running.signal(signal.SIGINT)
        running.wait()

    assert printed == [b"last words"] * 1000


def test_memory_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, orders: Orders, tmp_path: Path
) -> None:
    """Before anything is made."""
    machine = Machine(Path("linux"), Path("data"), 1 << 40)

    with (
        pytest.raises(InfrastructureError, match=r"needs as much in .* GiB left; .*--memory"),
        guest(machine, orders, Sinks(1, 2)),
    ):
        pass

    assert not records_root().exists()


def test_output_that_nobody_takes_is_thrown_away() -> None:
    """The guest must not stand still; it is told once."""
    reader, writer = os.pipe()
    source, into = os.pipe()
    os.close(reader)
    told = threading.Event()
    thread = pass_on(source, writer, told.set)
    for _ in range(64):
        os.write(into, b"x" * 65536)
    os.close(into)
    thread.join()
    os.close(writer)

    assert told.is_set()
