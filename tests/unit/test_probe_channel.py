"""What the probe makes of its input: lines, garbage, the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from servicelab.verdict import Deadline, eventually

PROBE = str(resources.files("servicelab.vantage") / "probe" / "servicelab_probe.py")
SECONDS = 20.0


def converse(*lines: bytes, flags: tuple[str, ...] = ()) -> list[Any]:
    """Give the probe these lines and the end of its input; what it says, line by line."""
    done = subprocess.run(
        [sys.executable, *flags, PROBE, "channel"],
        input=b"\n".join(lines),
        capture_output=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stderr == b""
    assert done.stdout.isascii()
    return [json.loads(line) for line in done.stdout.splitlines()]


PING = b'{"id": 7, "op": "ping"}'


def test_the_end_of_input_is_the_end_of_the_probe() -> None:
    """A probe whose channel is hung up exits by itself, with code 0."""
    assert converse() == []


def test_bye_ends_it_without_an_answer() -> None:
    """`bye` ends the probe; what follows is not read."""
    assert converse(b'{"op": "bye"}', PING) == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b"null",
        b"{}",
        b'{"id": 1}',
        b'{"id": 1, "op": "dance"}',
        b'{"id": 1, "op": "ask"}',
        b'{"id": 1, "op": "ask", "requests": 5}',
        b'{"id": 1, "op": "stop"}',
        b'{"id": 1, "op": "peek"}',
        b'{"id": 1, "op": "stream", "every": "x", "request": {}, "most": 1}',
        b"[" * 100_000,
        b"x" * 5_000_000,
    ],
    ids=lambda garbage: garbage[:40].decode("latin-1"),
)
def test_garbage_gets_an_error_and_the_next_line_its_answer(garbage: bytes) -> None:
    """Whatever a line holds, the probe says what is wrong with it and goes on."""
    refused, pong = converse(garbage, PING)

    assert refused["ok"] is False
    assert refused["detail"]
    assert (pong["id"], pong["ok"]) == (7, True)


@pytest.mark.parametrize(
    "request_",
    [
        5,
        {},
        {"kind": "dance"},
        {"kind": "http"},
        {"kind": "http", "address": 5},
        {"kind": "http", "address": "127.0.0.1", "port": "http"},
        {"kind": "tcp", "address": "127.0.0.1", "port": 99999},
        {"kind": "tcp", "address": "127.0.0.1", "port": 1, "timeout": "long"},
        {"kind": "http", "address": "127.0.0.1", "port": 1, "host": "a\r\nb"},
        {"kind": "resolve", "name": "a\u0000b"},
        {"kind": "resolve", "name": "x", "family": "ipx"},
        {"kind": "read_file", "path": "/etc/shadow"},
        {"kind": "read_file", "path": "/etc/hosts/../shadow"},
    ],
    ids=str,
)
def test_a_request_of_the_wrong_shape_spoils_only_itself(request_: Any) -> None:
    """A request that can't be asked has an error in its reply; its neighbour is asked."""
    good = {"kind": "read_file", "path": "/etc/hosts"}
    question = {"id": 1, "op": "ask", "requests": [request_, good]}

    (answer,) = converse(json.dumps(question).encode())

    bad, fine = answer["replies"]
    assert bad["ok"] is False
    assert bad["error"] in ("other", "name", "timeout", "refused")
    assert bad["detail"]
    assert fine["ok"] is True


def test_blank_lines_are_passed_over() -> None:
    """An empty line is nobody's question."""
    assert [each["id"] for each in converse(b"", b"  ", PING, b"")] == [7]


def test_it_runs_isolated_and_without_site_packages() -> None:
    """The flags of the images (-I -S) leave everything but DNS working, and start faster."""
    (pong,) = converse(PING, flags=("-I", "-S"))

    assert pong["ok"] is True


@pytest.mark.parametrize("role", ["idle", "channel"])
def test_starting_imports_neither_dns_nor_http_clients(role: str) -> None:
    """What a start need not import it does not: each comes with the first question for it."""
    needless = {"dns", "http", "httpx", "subprocess", "asyncio", "site"}
    code = (
        "import sys, runpy, signal; probe = runpy.run_path(sys.argv[1]); "
        "signal.sigwait = lambda awaited: signal.SIGTERM; "
        "sys.exit(0) if probe['main']([sys.argv[2]]) else print(*sys.modules)"
    )
    bare = [sys.executable, "-I", "-S", "-c"]
    said = subprocess.run(
        [*bare, code, PROBE, role], input="", capture_output=True, text=True, timeout=SECONDS
    )

    modules = set(said.stdout.split())
    assert "json" in modules or role == "idle"
    assert "signal" in modules
    assert not needless & modules


def test_an_unknown_role_is_a_usage_error() -> None:
    """Anything but the two roles says how to use it."""
    done = subprocess.run(
        [sys.executable, PROBE, "dance"], capture_output=True, timeout=SECONDS, check=False
    )

    assert done.returncode == 2
    assert b"idle|channel" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_ends_at_once_when_asked_to(number: signal.Signals) -> None:
    """The idle probe exits with code 0 on SIGTERM and SIGINT, so Pods go without grace time."""
    argv = [sys.executable, "-S", PROBE, "idle"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as idle:
        waiting(idle)
        idle.send_signal(number)

        assert idle.wait(SECONDS) == 0


def test_idle_buries_orphans() -> None:
    """As process 1 it reaps what is left to it, and goes on waiting."""
    # A subreaper stands for process 1: orphans below it become its children.
    code = (
        "import ctypes, os, subprocess, sys, runpy; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); "
        "subprocess.run(['sh', '-c', 'sh -c \"echo $$; read x\" & echo']); "
        "sys.argv[1:] = ['idle']; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    argv = [sys.executable, "-c", f"import sys; sys.argv = [{PROBE!r}]; {code}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as idle:
        assert idle.stdin is not None
        assert idle.stdout is not None
        orphan = int(next(line for line in idle.stdout if line.strip()))
        waiting(idle)
        idle.stdin.write("go\n")
        idle.stdin.flush()
        gone(orphan)

        assert idle.poll() is None
        idle.terminate()
        assert idle.wait(SECONDS) == 0


def waiting(idle: subprocess.Popen[str]) -> None:
    """Wait until the idle probe has said that it waits for signals."""
    assert idle.stdout is not None
    assert "idle\n" in iter(idle.stdout.readline, "")


def gone(pid: int) -> None:
    """Wait until a process is no more, not even as a zombie."""
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the orphan to be buried")


def wait_for(met: Callable[[], bool], what: str) -> None:
    """Wait until something about a process is so."""
    deadline = Deadline("process_in_test", SECONDS)
    eventually(met, bool, deadline=deadline, expecting=what, every=0.01)
