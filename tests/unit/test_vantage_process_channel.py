"""Probes reached through a process: its end, its silence, its last words."""

from __future__ import annotations

import os
import signal
import sys
from importlib import resources
from pathlib import Path

import pytest

from servicelab.vantage import ChannelBroken, Vantage
from servicelab.vantage.process_channel import ProcessChannel

PROBE = str(resources.files("servicelab.vantage") / "probe" / "servicelab_probe.py")
PING = b'{"id": 1, "op": "ping"}'


def script(text: str) -> ProcessChannel:
    """A channel to a Python program of the test's."""
    return ProcessChannel([sys.executable, "-S", "-c", text])


def test_a_line_there_and_a_line_back() -> None:
    """What the process writes for a line is given back without its newline."""
    channel = script("for line in iter(input, ''): print(line.upper(), flush=True)")

    assert channel.exchange(b"a", 10) == b"A"
    assert channel.exchange(b"b", 10) == b"B"
    channel.close()


def test_long_lines_pass_both_ways() -> None:
    """Megabytes in one line don't block either end."""
    channel = script("for line in iter(input, ''): print(line, flush=True)")
    line = b"x" * 5_000_000

    assert channel.exchange(line, 30) == line
    channel.close()


def test_lines_that_arrive_together_are_kept_apart() -> None:
    """Two lines in one piece are two answers."""
    channel = script("input(); print('one'); print('two', flush=True); input()")

    assert channel.exchange(b"?", 10) == b"one"
    assert channel.exchange(b"?", 10) == b"two"
    channel.close()


def test_a_process_that_ends_says_why() -> None:
    """The last line on its standard error, and its exit code, are in the sentence."""
    channel = script("import sys; sys.exit('the container is not running')")

    with pytest.raises(ChannelBroken, match=r"code 1: the container is not running"):
        channel.exchange(PING, 10)


def test_silence_is_broken_off() -> None:
    """A process that does not answer is given up at the deadline, and ended."""
    channel = script("import time; time.sleep(600)")
    pid = channel._process.pid

    with pytest.raises(ChannelBroken, match="in time"):
        channel.exchange(PING, 0.2)
    assert not Path(f"/proc/{pid}").exists()


def test_a_process_that_does_not_read_can_not_hold_us() -> None:
    """A question longer than the pipe holds is given up at the deadline too."""
    channel = script("import time; time.sleep(600)")

    with pytest.raises(ChannelBroken, match="in time"):
        channel.exchange(b"x" * 5_000_000, 0.2)


def test_a_closed_channel_says_so() -> None:
    """Nothing is asked over a closed channel; closing again does no harm."""
    channel = ProcessChannel([sys.executable, PROBE, "channel"])
    pid = channel._process.pid
    channel.close()
    channel.close()

    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(ChannelBroken, match="closed"):
        channel.exchange(PING, 10)


def test_a_command_that_is_not_there() -> None:
    """A program that does not exist is named."""
    with pytest.raises(ChannelBroken, match="/nowhere/docker can't be run"):
        ProcessChannel(["/nowhere/docker", "exec"])


def test_a_killed_probe_is_found_again() -> None:
    """When the process behind a vantage point dies between two calls, the next call works."""
    channels: list[ProcessChannel] = []

    def factory() -> ProcessChannel:
        channels.append(ProcessChannel([sys.executable, PROBE, "channel"]))
        return channels[-1]

    with Vantage("here", factory) as vantage:
        vantage.reach()
        os.kill(channels[0]._process.pid, signal.SIGKILL)

        assert "localhost" in vantage.read_file("/etc/hosts")
    assert len(channels) == 2


def test_it_survives_the_terminals_interrupt() -> None:
    """Ctrl-C goes to the terminal's process group; the probe is in another one."""
    channel = ProcessChannel([sys.executable, PROBE, "channel"])

    assert os.getpgid(channel._process.pid) != os.getpgid(0)
    channel.close()
