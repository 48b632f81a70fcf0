"""Having the kernel trace a packet: what is started on a node is taken away again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from servicelab.errors import InfrastructureError
from servicelab.trace.listening import listening, table_text
from servicelab.trace.packet import Endpoint
from servicelab.verdict import deadlines

ASKED = Endpoint("10.96.0.9", 80)
TOLD = (
    "trace id 1 ip nat OUTPUT packet: ip saddr 10.244.1.9 ip daddr 10.96.0.9 ip ttl 64 "
    "tcp sport 4711 tcp dport 80"
)
#: Stands for docker: the monitor tells of the table, of a packet, and of the end that is asked for.
MONITOR = """\
#!{python}
import sys
(name,) = [word.removeprefix("--unit=") for word in sys.argv if word.startswith("--unit=")]
print("add chain ip " + name + " prerouting", flush=True)
print({told!r}, flush=True)
with open({fifo!r}) as asked:
    asked.read()
print("delete table ip " + name, flush=True)
"""


class Node:
    """A cluster of one node, on which commands are noted down."""

    ours = True

    def __init__(self, docker: Path, fifo: Path | None = None) -> None:
        self.engine = SimpleNamespace(docker_binary=docker, env=dict(os.environ))
        self.fifo = fifo
        self.ran: list[str] = []

    def docker_exec(self, node: str, *argv: str, input: str | None = None) -> str:
        self.ran.append(" ".join(argv) + (f" < {input}" if input else ""))
        if argv[:3] == ("nft", "delete", "table") or argv[0] == "systemctl":
            self.end_monitor()
        return ""

    def end_monitor(self) -> None:
        """Have the monitor end, if it still runs."""
        if self.fifo:
            with suppress(OSError):  # nobody reads any more
                os.close(os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK))

    @property
    def gone(self) -> bool:
        """Whether the table was deleted, and the unit stopped, in the end."""
        stopped = any(each.startswith("systemctl stop servicelab-trace-") for each in self.ran)
        return stopped and "delete table ip servicelab-trace-" in self.ran[-1]


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """What is not told is given up soon."""
    before = deadlines.use(deadlines.parse(["trace_heard=2"]))
    yield
    deadlines.use(before)


@pytest.fixture
def monitor(tmp_path: Path) -> Node:
    """A node whose monitor works."""
    fifo, docker = tmp_path / "fifo", tmp_path / "docker"
    os.mkfifo(fifo)
    docker.write_text(MONITOR.format(python=sys.executable, told=TOLD, fifo=str(fifo)))
    docker.chmod(0o755)
    return Node(docker, fifo)


def listen(cluster: Any, *, fail: bool = False) -> Any:
    """Listen while nothing happens."""
    with listening(cluster, "node", "tcp", "10.244.1.9", ASKED) as heard:
        if fail:
            raise RuntimeError("interrupted")
    return heard


def test_what_the_kernel_told_is_heard_to_the_end(monitor: Node) -> None:
    """The table is deleted when the connection is over, and what was told before that counts."""
    heard = listen(monitor)

    assert heard.why_not == ""
    (packet,) = heard.packets
    assert packet.ends == [(Endpoint("10.244.1.9", 4711), ASKED)]
    assert monitor.gone


def test_what_goes_wrong_meanwhile_leaves_nothing(monitor: Node) -> None:
    """An interrupt too."""
    with pytest.raises(RuntimeError, match="interrupted"):
        listen(monitor, fail=True)

    assert monitor.gone


def test_a_node_without_a_monitor_is_told_of(tmp_path: Path) -> None:
    """No systemd, no nft, no nftables in the kernel: the other proofs are left, and it is said."""
    cluster = Node(Path("/bin/false"))

    heard = listen(cluster)

    assert "the kernel could not be asked to trace it" in heard.why_not
    assert heard.packets == ()
    assert cluster.gone


def test_a_table_that_is_refused_is_told_of(monitor: Node) -> None:
    """An old kernel may not know what it says."""

    def refusing(node: str, *argv: str, input: str | None = None) -> str:
        if argv[0] == "systemctl":
            monitor.end_monitor()
        if input and "chain" in input:
            raise InfrastructureError("nft: no such thing")
        return ""

    monitor.docker_exec = refusing  # type: ignore[method-assign]

    assert "no such thing" in listen(monitor).why_not


def test_a_cluster_of_others_is_left_alone() -> None:
    """Nothing is run there."""
    cluster = Node(Path("/bin/false"))
    cluster.ours = False

    assert "left unchanged" in listen(cluster).why_not
    assert cluster.ran == []


def test_the_table_marks_the_first_packet_of_the_one_connection() -> None:
    """kube-proxy's table is not named; a node's own packet may have any of its addresses."""
    text = table_text("servicelab-trace-1", "udp", "10.244.1.9", ASKED)

    marks = [line.strip() for line in text.splitlines() if "nftrace" in line]
    own = "ip daddr 10.96.0.9 udp dport 80 ct state new meta nftrace set 1"
    assert marks == [f"ip saddr 10.244.1.9 {own}", own]
    assert text.count("servicelab-trace-1") == 3
    assert "kube" not in text
