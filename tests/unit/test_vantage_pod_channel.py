"""Probes in Pods, reached through a small API server that execs the probe on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from urllib.parse import parse_qsl, urlsplit

import pytest
from kubernetes.client import Configuration

from servicelab.vantage import ChannelBroken, PodVantage
from servicelab.vantage.pod_channel import STATUS, STDERR, STDOUT, PodChannel
from servicelab.verdict import deadlines

PROBE = str(resources.files("servicelab.vantage") / "probe" / "servicelab_probe.py")
PING = b'{"id": 1, "op": "ping"}'


class Exec:
    """The API server's end of one exec: what was asked for, and its frames."""

    def __init__(self, connection: socket.socket, head: list[str]) -> None:
        self._connection = connection
        url = urlsplit(head[0].split()[1])
        self.path = url.path
        self.query = parse_qsl(url.query)
        self.headers = {
            name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:])
        }

    def accept(self) -> None:
        """Switch to WebSocket frames."""
        magic = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        key = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()
        self._connection.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {key}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
            "".encode()
        )

    def refuse(self, status: str, body: bytes) -> None:
        """Answer the upgrade with an error."""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._connection.sendall(head.encode() + body)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Channel and data of each frame from the client, until it hangs up."""
        with self._connection.makefile("rb") as stream:
            for first in iter(lambda: stream.read(2), b""):
                size = first[1] & 0x7F
                if size == 126:
                    size = int.from_bytes(stream.read(2), "big")
                mask = stream.read(4)
                data = bytes(byte ^ mask[place % 4] for place, byte in enumerate(stream.read(size)))
                if first[0] & 0x0F == 8:
                    return
                yield data[0], data[1:]

    def say(self, channel: int, data: bytes, pieces: int = 30_000) -> None:
        """Send data in frames of so many bytes."""
        for start in range(0, len(data), pieces):
            part = bytes([channel]) + data[start : start + pieces]
            size = len(part)
            length = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big")
            self._connection.sendall(b"\x82" + length + part)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def api_server(serve: Callable[[Exec], None]) -> Iterator[Configuration]:
    """An API server that hands each exec to `serve`; gives the way to reach it."""

    class Handler(socketserver.StreamRequestHandler):
        rbufsize = 0

        def handle(self) -> None:
            head = iter(lambda: self.rfile.readline().strip(), b"")
            serve(Exec(self.request, [line.decode() for line in head]))

    with _Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{server.server_address[1]}"
        yield configuration
        server.shutdown()


def run_the_probe(call: Exec) -> None:
    """Do what the kubelet does: run the command, with its input and output in frames."""
    call.accept()
    argv = [sys.executable, PROBE, "channel"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as probe:
        assert probe.stdin is not None
        assert probe.stdout is not None
        asked = b""
        for _, data in call.frames():
            asked += data
            if asked.endswith(b"\n"):
                probe.stdin.write(asked)
                asked = b""
                line = b""
                while not line.endswith(b"\n") and (said := probe.stdout.read(1 << 20)):
                    line += said
                call.say(STDOUT, line)
        probe.stdin.close()


def test_a_pod_is_asked_through_the_api_server() -> None:
    """An exec of the probe's channel in the Pod carries questions and replies of any size."""
    seen: list[Exec] = []

    def serve(call: Exec) -> None:
        seen.append(call)
        run_the_probe(call)

    with (
        api_server(serve) as configuration,
        PodVantage(configuration, "shop", "client-a", "client") as pod,
    ):
        assert "localhost" in pod.read_file("/etc/hosts")
        refused = pod.tcp("127.0.0.1", 1)
        many = pod.ask([refused.request] * 2000)

    assert refused.error == "refused"
    assert many.error_counts() == {"refused": 2000}
    assert len(seen) == 1
    assert seen[0].path == "/api/v1/namespaces/shop/pods/client-a/exec"
    assert [value for name, value in seen[0].query if name == "command"] == [
        "python3",
        "-I",
        "-S",
        "/usr/lib/servicelab/servicelab_probe.py",
        "channel",
    ]
    assert {"stdin": "true", "stdout": "true", "stderr": "true", "container": "client"}.items() <= (
        dict(seen[0].query).items()
    )
    assert "tty" not in dict(seen[0].query)
    assert "v4.channel.k8s.io" in seen[0].headers["sec-websocket-protocol"]


def test_closing_tells_the_probe_to_exit() -> None:
    """The last line that a probe gets is `bye`: its input may stay open after the connection."""
    lines: list[bytes] = []
    ended = threading.Event()

    def serve(call: Exec) -> None:
        call.accept()
        lines.extend(data for _, data in call.frames())
        ended.set()

    with api_server(serve) as configuration:
        PodChannel(configuration, "shop", "client-a").close()
        assert ended.wait(10)

    assert lines == [b'{"op":"bye"}\n']


def test_the_bearer_token_is_shown() -> None:
    """A kubeconfig with a token, not a certificate, gets in too."""
    seen: list[str | None] = []

    def serve(call: Exec) -> None:
        seen.append(call.headers.get("authorization"))
        call.accept()

    with api_server(serve) as configuration:
        configuration.api_key = {"authorization": "Bearer secret"}
        PodChannel(configuration, "shop", "client-a").close()

    assert seen == ["Bearer secret"]


def test_a_refused_exec_says_the_api_servers_reason() -> None:
    """The API server's own sentence says which Pod is missing."""
    body = json.dumps({"kind": "Status", "message": 'pods "client-a" not found'}).encode()
    with (
        api_server(lambda call: call.refuse("404 Not Found", body)) as configuration,
        pytest.raises(ChannelBroken, match=r'shop/client-a: pods "client-a" not found'),
    ):
        PodVantage(configuration, "shop", "client-a").reach()


def test_a_refusal_without_words_says_its_code() -> None:
    """A proxy's error page is told by its code."""
    with (
        api_server(lambda call: call.refuse("502 Bad Gateway", b"<html>")) as configuration,
        pytest.raises(ChannelBroken, match="HTTP 502"),
    ):
        PodChannel(configuration, "shop", "client-a")


def test_an_api_server_that_is_not_there() -> None:
    """No API server is an infrastructure failure that names it."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{unheard.getsockname()[1]}"

        with pytest.raises(ChannelBroken, match=r"through http://127\.0\.0\.1"):
            PodChannel(configuration, "shop", "client-a")


def test_an_api_server_that_hangs_is_given_up() -> None:
    """Connecting has a deadline, also when somebody listens and never answers."""
    before = deadlines.use(deadlines.parse(["probe_reached=0.2"]))
    over = threading.Event()
    try:
        with (
            api_server(lambda call: over.wait(10) and None) as configuration,
            pytest.raises(ChannelBroken),
        ):
            PodChannel(configuration, "shop", "client-a")
    finally:
        over.set()
        deadlines.use(before)


def test_a_container_that_ends_says_why() -> None:
    """When the exec ends, its last line on standard error says why, else the status does."""

    def with_stderr(call: Exec) -> None:
        call.accept()
        next(call.frames())
        call.say(STDERR, b"Traceback\npython3: can't open file\n")
        call.say(STATUS, b'{"status": "Failure", "message": "exit code 2"}')

    def without(call: Exec) -> None:
        call.accept()
        next(call.frames())
        call.say(STATUS, b'{"status": "Failure", "message": "exit code 137"}')

    with (
        api_server(with_stderr) as configuration,
        pytest.raises(ChannelBroken, match="can't open file"),
    ):
        PodChannel(configuration, "shop", "client-a").exchange(PING, 10)
    with (
        api_server(without) as configuration,
        pytest.raises(ChannelBroken, match="exit code 137"),
    ):
        PodChannel(configuration, "shop", "client-a").exchange(PING, 10)


def test_a_connection_that_breaks() -> None:
    """A connection that ends without a word is a broken channel, and so is a later question."""

    def serve(call: Exec) -> None:
        call.accept()
        next(call.frames())

    with api_server(serve) as configuration:
        channel = PodChannel(configuration, "shop", "client-a")
        with pytest.raises(ChannelBroken, match=r"gone|ended"):
            channel.exchange(PING, 10)
        with pytest.raises(ChannelBroken, match="closed"):
            channel.exchange(PING, 10)


def test_silence_is_broken_off() -> None:
    """A probe that does not answer is given up at the deadline."""

    def serve(call: Exec) -> None:
        call.accept()
        for _ in call.frames():
            call.say(STDERR, b"thinking\n")

    with api_server(serve) as configuration:
        channel = PodChannel(configuration, "shop", "client-a")
        with pytest.raises(ChannelBroken, match="did not answer"):
            channel.exchange(PING, 0.2)


def test_a_restarted_pod_is_found_again() -> None:
    """When the connection was lost between two calls, the next call opens another."""
    calls: list[Exec] = []

    def serve(call: Exec) -> None:
        calls.append(call)
        if len(calls) > 1:
            run_the_probe(call)
            return
        call.accept()
        next(call.frames())
        call.say(STDOUT, b'{"id": 1, "ok": true, "version": 1, "time": 0}\n')

    with api_server(serve) as configuration, PodVantage(configuration, "shop", "client-a") as pod:
        pod.reach()

        assert "localhost" in pod.read_file("/etc/hosts")
    assert len(calls) == 2
