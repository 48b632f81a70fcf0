"""Having the kernel trace a packet: a small table of ours marks it, nft's monitor tells.

kube-proxy's table is not touched. Both belong to a unit of the node's systemd, which ends the
monitor and deletes the table by itself if nobody does.
"""

from __future__ import annotations

import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servicelab.errors import InfrastructureError
from servicelab.trace.kernel_told import Told, parse_told
from servicelab.trace.packet import Endpoint
from servicelab.verdict import NotProved, deadlines, eventually

if TYPE_CHECKING:
    from servicelab.cluster import Cluster

LONGEST = 60
"""Seconds after which the node's systemd ends what we started, whatever became of us."""

_TABLE = """\
add table ip {name}
delete table ip {name}
table ip {name} {{
  chain prerouting {{
    type filter hook prerouting priority -199; policy accept;
    ip saddr {source} {own}
  }}
  chain output {{
    type filter hook output priority -199; policy accept;
    {own}
  }}
}}
"""


@dataclass(slots=True)
class Heard:
    """What the kernel told; complete once the listening is over.

    Attributes:
        packets: every packet that was traced.
        why_not: why nothing can be heard; "" if it can.
    """

    packets: tuple[Told, ...] = ()
    why_not: str = ""


@contextmanager
def listening(
    cluster: Cluster, node: str, protocol: str, source: str, asked: Endpoint
) -> Iterator[Heard]:
    """Listen to what the kernel of a node tells of new connections while the block runs.

    Args:
        cluster: the cluster.
        node: the node.
        protocol: "tcp" or "udp".
        source: the client's address.
        asked: what it will ask.
    """
    heard = Heard()
    if not cluster.ours:
        heard.why_not = "the kernel was not asked to trace it: nodes of others are left unchanged"
        yield heard
        return
    name = f"servicelab-trace-{uuid.uuid4().hex[:6]}"
    monitor = _Monitor(cluster, node, name)
    try:
        try:
            monitor.mark(table_text(name, protocol, source, asked))
        except (NotProved, InfrastructureError) as error:
            heard.why_not = f"the kernel could not be asked to trace it: {_first_line(error)}"
        yield heard
        if not heard.why_not:
            try:
                heard.packets = parse_told(monitor.last_words())
            except (NotProved, InfrastructureError) as error:
                heard.why_not = f"what the kernel traced was not heard: {_first_line(error)}"
    finally:
        monitor.close()


def table_text(name: str, protocol: str, source: str, asked: Endpoint) -> str:
    """What nft reads to make our table: it has a connection's first packet traced, and no more.

    The priority comes right after conntrack's own (-200), which says what is new. The node's own
    packets may have any of its addresses; in IPVS mode it is the Service's.
    """
    own = f"ip daddr {asked.ip} {protocol} dport {asked.port} ct state new meta nftrace set 1"
    return _TABLE.format(name=name, source=source, own=own)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


@dataclass(slots=True)
class _Monitor:
    """`nft monitor` on a node, and the table whose packets it tells of.

    Attributes:
        cluster: the cluster.
        node: the node.
        name: of the table, and of the unit.
    """

    cluster: Cluster
    node: str
    name: str
    _lines: list[str] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None
    _reader: threading.Thread | None = None

    def mark(self, text: str) -> None:
        """Start listening, and make the table.

        Raises:
            NotProved: the monitor does not tell of our own table.
            InfrastructureError: nft refuses the table.
        """
        self._start()

        def made() -> bool:
            # Again and again, since the monitor tells only what comes after its start.
            self.cluster.docker_exec(self.node, "nft", "--file", "-", input=text)
            return any(line.startswith(f"add chain ip {self.name} ") for line in self._lines)

        eventually(
            made,
            lambda heard: heard,
            deadline=deadlines.current().trace_heard,
            expecting=f"nft's monitor on {self.node} to tell of the table {self.name}",
            every=0.1,
        )

    def last_words(self) -> tuple[str, ...]:
        """Delete the table, and everything that was told before that.

        Raises:
            NotProved: the monitor does not tell of the deletion.
            InfrastructureError: nft refuses it.
        """
        at = len(self._lines)
        self.cluster.docker_exec(self.node, "nft", "delete", "table", "ip", self.name)
        eventually(
            lambda: list(self._lines[at:]),
            lambda lines: any(line.startswith(f"delete table ip {self.name}") for line in lines),
            deadline=deadlines.current().trace_heard,
            expecting=f"nft's monitor on {self.node} to tell of the end of the table {self.name}",
            every=0.02,
        )
        return tuple(self._lines)

    def close(self) -> None:
        """End the monitor, and delete the table if it is still there."""
        if self._process is None:
            return
        with suppress(InfrastructureError):  # it may have ended by itself
            self.cluster.docker_exec(self.node, "systemctl", "stop", f"{self.name}.service")
        with suppress(InfrastructureError):
            gone = f"add table ip {self.name}\ndelete table ip {self.name}\n"
            self.cluster.docker_exec(self.node, "nft", "--file", "-", input=gone)
        try:
            self._process.wait(deadlines.current().trace_heard.seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not None:
            self._reader.join()

    def _start(self) -> None:
        engine = self.cluster.engine
        argv = [
            *("systemd-run", "--quiet", "--collect", "--pipe", "--wait", f"--unit={self.name}"),
            f"--property=RuntimeMaxSec={LONGEST}",
            # "-": it is no failure that the table is gone already.
            f"--property=ExecStopPost=-nft delete table ip {self.name}",
            *("nft", "--handle", "monitor"),
        ]
        self._process = subprocess.Popen(
            [str(engine.docker_binary), "exec", self.node, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(engine.env),
            encoding="utf-8",
            errors="replace",
            # Ctrl-C on the terminal is for us, who then end it properly.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as told:
            for line in told:
                self._lines.append(line.rstrip("\n"))
