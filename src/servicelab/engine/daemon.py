"""The private engine's daemon: its command line, and whether it answers."""

from __future__ import annotations

import http.client
import socket
import subprocess
from ipaddress import IPv4Network

import psutil

from servicelab.engine.addresses import SUBNET_PREFIX
from servicelab.engine.engine import ANSWER_TIMEOUT_S, last_lines
from servicelab.engine.layout import Layout
from servicelab.engine.packages import Programs
from servicelab.errors import InfrastructureError
from servicelab.host import ProcessIdentity, process_identity
from servicelab.verdict import deadlines
from servicelab.verdict.message import NotProved
from servicelab.verdict.waiting import eventually


def dockerd_command(where: Layout, programs: Programs, pool: IPv4Network) -> list[str]:
    """The daemon's command line: everything of its own, nothing of another Docker's."""
    return [
        str(programs.root / "usr/sbin/dockerd"),
        f"--host={where.host}",
        f"--data-root={where.data}",
        f"--exec-root={where.exec_root}",
        f"--pidfile={where.pid_file}",
        "--config-file=/dev/null",
        "--group=root",
        # Clusters have networks of their own; the default one would only be one more to guard.
        "--bridge=none",
        f"--default-address-pool=base={pool},size={SUBNET_PREFIX}",
        "--storage-driver=overlay2",
        # No name server out there is asked: in the container that asks, nothing listens here,
        # so a name that Docker does not know fails at once instead of after a time-out.
        "--dns=127.0.0.254",
        f"--userland-proxy-path={programs.root / 'usr/sbin/docker-proxy'}",
        f"--init-path={programs.root / 'usr/bin/docker-init'}",
        "--log-level=warn",
    ]


def spawn(
    where: Layout, programs: Programs, pool: IPv4Network, backend: str
) -> subprocess.Popen[bytes]:
    """Start dockerd, detached: it outlives this process and its terminal.

    Raises:
        InfrastructureError: the program can't be run.
    """
    where.exec_root.mkdir(parents=True, exist_ok=True)
    where.data.mkdir(parents=True, exist_ok=True)
    command = dockerd_command(where, programs, pool)
    try:
        with where.log.open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=programs.environment(backend),
                # Ctrl-C in the terminal must not reach it.
                start_new_session=True,
            )
    except OSError as error:
        raise InfrastructureError(
            f"{command[0]} can't be run: {error.strerror}",
            remedy=f"delete {programs.root.parent} and start again",
        ) from error


def wait_until_it_answers(where: Layout, process: subprocess.Popen[bytes]) -> None:
    """Wait for the daemon's first answer on its socket.

    Raises:
        InfrastructureError: it ended, or the deadline passed; the message has its last words.
    """
    try:
        eventually(
            lambda: (process.poll(), ping(where)),
            lambda seen: seen[1],
            deadline=deadlines.current().engine_started,
            expecting="the private Docker Engine should answer on its socket",
            every=0.05,
            give_up=lambda seen: "dockerd ended" if seen[0] is not None else None,
            tell=lambda seen: "an answer" if seen[1] else "no answer",
        )
    except NotProved:
        raise InfrastructureError(
            f"the private Docker Engine did not start: {last_words(where)}",
            remedy=f"the whole log is {where.log}",
        ) from None


def ping(where: Layout) -> bool:
    """Whether the daemon answers on its socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(str(where.socket))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def containerd_of(pid: int) -> ProcessIdentity | None:
    """The containerd that a dockerd started."""
    try:
        children = psutil.Process(pid).children()
        found = next((child.pid for child in children if child.name() == "containerd"), None)
        return process_identity(found) if found is not None else None
    except psutil.NoSuchProcess:
        return None


def last_words(where: Layout) -> str:
    """The end of the daemon's log."""
    if not where.log.exists():
        return "it wrote no log"
    return last_lines(where.log.read_text(errors="replace"), 2)
