"""The probe, run as a process of this machine, against small servers on loopback."""

from __future__ import annotations

import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib import resources
from typing import Any

import pytest

from servicelab.errors import InfrastructureError
from servicelab.vantage import ErrorClass, HttpRequest, TcpRequest, UdpRequest, Vantage
from servicelab.vantage.process_channel import ProcessChannel
from servicelab.verdict import Deadline, eventually

PROBE = str(resources.files("servicelab.vantage") / "probe" / "servicelab_probe.py")
HERE = "127.0.0.1"
PATIENCE = 0.3  # seconds; for the questions that nobody answers

Talk = Callable[[socket.socket], None]


@pytest.fixture(scope="module")
def local() -> Iterator[Vantage]:
    """A vantage point on this machine."""
    with Vantage("here", lambda: ProcessChannel([sys.executable, PROBE, "channel"])) as vantage:
        yield vantage


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


@contextmanager
def serving(talk: Talk, address: str = HERE) -> Iterator[int]:
    """A TCP server that runs `talk` on each connection; gives its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            talk(self.request)

    with _Server((address, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


def heads(connection: socket.socket) -> Iterator[list[str]]:
    """The header lines of each request on a connection, until the client closes."""
    with connection.makefile("rb") as lines:
        head: list[str] = []
        for line in lines:
            if line.strip():
                head.append(line.decode("latin-1").strip())
            else:
                yield head
                head = []


def http(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    """A whole HTTP response."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


def backend(pod: str) -> Talk:
    """What the labs' web backend answers."""

    def talk(connection: socket.socket) -> None:
        ip, port = connection.getpeername()[:2]
        for head in heads(connection):
            path = head[0].split()[1]
            body = {"/hostname": pod, "/clientip": f"{ip}:{port}"}.get(path)
            connection.sendall(
                http(body.encode()) if body else http(b"no such page", "404 Not Found")
            )

    return talk


def saying(data: bytes) -> Talk:
    """A server that answers the first request with these bytes and closes."""

    def talk(connection: socket.socket) -> None:
        next(heads(connection), None)
        connection.sendall(data)

    return talk


def wait_for(met: Callable[[], bool], what: str) -> None:
    """Wait until something about a stream is so."""
    deadline = Deadline("stream_in_test", 10)
    eventually(met, bool, deadline=deadline, expecting=what, every=0.01)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with closing(socket.create_server((HERE, 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refused() -> Iterator[int]:
    """A port that nobody listens on; it is bound, so nobody else will."""
    with closing(socket.socket()) as unheard:
        unheard.bind((HERE, 0))
        yield unheard.getsockname()[1]


def test_web_says_who_answered_and_which_client_was_seen(local: Vantage) -> None:
    """One question to the web backend gives Pod, client address, status and timings."""
    with serving(backend("web-1")) as port:
        (reply,) = local.web(HERE, port)

    assert (reply.pod, reply.client_ip, reply.status) == ("web-1", HERE, 200)
    assert reply.local is not None
    assert reply.answers[1].text == str(reply.local)
    assert str(reply.peer) == f"{HERE}:{port}"
    assert reply.connect_seconds is not None
    assert 0 < reply.connect_seconds <= reply.seconds
    assert reply.started > 1_600_000_000


def test_each_request_opens_its_own_connection(local: Vantage) -> None:
    """Twenty requests come from twenty connections, with both their questions on one."""
    talks: list[int] = []

    def talk(connection: socket.socket) -> None:
        talks.append(0)
        for _ in heads(connection):
            talks[-1] += 1
            connection.sendall(http(b"x"))

    with serving(talk) as port:
        replies = local.web(HERE, port, times=20)

    assert replies.ok
    assert len({reply.local for reply in replies}) == 20
    assert sorted(talks) == [2] * 20


def test_order_is_kept_by_several_workers(local: Vantage) -> None:
    """Replies come in the order of their requests, however many are asked at a time."""
    with serving(backend("web-1")) as one, serving(backend("web-2")) as two:
        requests = [HttpRequest(HERE, each, "/hostname") for each in (one, two, two) * 10]

        replies = local.ask(requests, workers=8)

    assert replies.pods == ["web-1", "web-2", "web-2"] * 10


def test_a_thousand_requests_in_one_call(local: Vantage) -> None:
    """A thousand connections fit into one call, and each is answered."""
    with serving(backend("web-1")) as port:
        replies = local.web(HERE, port, times=1000)

    assert replies.counts() == {"web-1": 1000}
    assert len(replies) == 1000


def test_the_connection_of_another_backend_is_never_used(local: Vantage) -> None:
    """A server that closes after the first answer leaves `also` unanswered: no reconnecting."""
    answer = http(b"web-1", extra="Connection: close\r\n")
    with serving(saying(answer)) as port:
        (reply,) = local.web(HERE, port)

    assert reply.error is ErrorClass.CLOSED
    assert reply.pod == "web-1"
    assert reply.client_ip is None


def test_any_status_is_an_answer(local: Vantage) -> None:
    """A 404 is an answer of the target, not an error of the way there."""
    with serving(backend("web-1")) as port:
        reply = local.get(f"http://{HERE}:{port}/nowhere")

    assert reply.ok
    assert reply.status == 404
    assert reply.pod is None


def test_host_header_headers_and_path_are_sent_as_given(local: Vantage) -> None:
    """What a virtual host looks at is in the request: path with query, Host, other headers."""
    seen: list[str] = []

    def talk(connection: socket.socket) -> None:
        seen.extend(next(heads(connection)))
        connection.sendall(http(b""))

    with serving(talk) as port:
        url = f"http://{HERE}:{port}/a?b=c"
        local.get(url, host="shop.example", headers=(("X-Kind", "test"),))

    assert seen == ["GET /a?b=c HTTP/1.1", "Host: shop.example", "X-Kind: test"]


def test_host_header_defaults_to_the_target(local: Vantage) -> None:
    """Without an override the Host header is the address with its port, as curl sends it."""
    seen: list[str] = []

    def talk(connection: socket.socket) -> None:
        seen.extend(next(heads(connection)))
        connection.sendall(http(b""))

    with serving(talk) as port:
        local.get(f"http://localhost:{port}/")

    assert seen[1] == f"Host: localhost:{port}"


def test_post_sends_its_body(local: Vantage) -> None:
    """A POST carries its bytes, whatever they are."""
    sent = bytes(range(256))
    seen: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            while lines.readline().strip():
                pass
            seen.append(lines.read(len(sent)))
            connection.sendall(http(b"taken"))

    with serving(talk) as port:
        reply = local.post(f"http://{HERE}:{port}/", sent)

    assert reply.text == "taken"
    assert seen == [sent]


def test_binary_bodies_come_back_whole(local: Vantage) -> None:
    """Every byte value survives the way home."""
    with serving(saying(http(bytes(range(256))))) as port:
        reply = local.get(f"http://{HERE}:{port}/")

    assert reply.body == bytes(range(256))
    assert not reply.answers[0].truncated


def test_unicode_bodies_are_read_as_utf8(local: Vantage) -> None:
    """A page in UTF-8 reads as it was written."""
    with serving(saying(http("Grüße, 世界".encode()))) as port:
        assert local.get(f"http://{HERE}:{port}/").text == "Grüße, 世界"


def test_huge_bodies_are_cut_and_say_so(local: Vantage) -> None:
    """A body above the limit comes back cut to it, marked as truncated."""
    with serving(saying(http(b"a" * 3_000_000))) as port:
        cut = local.get(f"http://{HERE}:{port}/")
        whole = local.get(f"http://{HERE}:{port}/", most_bytes=4_000_000, timeout=20.0)

    assert len(cut.body) == 65_536
    assert cut.answers[0].truncated
    assert len(whole.body) == 3_000_000
    assert not whole.answers[0].truncated


def test_nothing_more_is_asked_after_a_cut_body(local: Vantage) -> None:
    """The rest of a cut body would be taken for the next answer, so there is no next one."""
    with serving(saying(http(b"a" * 100_000))) as port:
        (reply,) = local.web(HERE, port)

    assert reply.error is ErrorClass.PROTOCOL


def test_refused(local: Vantage, refused: int) -> None:
    """A port without a listener is `refused`, over TCP and UDP."""
    assert local.get(f"http://{HERE}:{refused}/").error is ErrorClass.REFUSED
    assert local.tcp(HERE, refused).error is ErrorClass.REFUSED
    assert local.udp(HERE, refused).error is ErrorClass.REFUSED


def test_timeout(local: Vantage, silent: int) -> None:
    """A listener that never answers is a `timeout`, after the time given and not before."""
    reply = local.get(f"http://{HERE}:{silent}/", timeout=PATIENCE)

    assert reply.error is ErrorClass.TIMEOUT
    assert reply.seconds >= PATIENCE
    assert reply.connect_seconds is not None


def test_timeout_counts_for_the_whole_answer(local: Vantage) -> None:
    """A server that trickles bytes for ever can't keep a request beyond its time."""
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        next(heads(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not over.wait(PATIENCE / 10):
            connection.sendall(b"x")

    with serving(talk) as port:
        reply = local.get(f"http://{HERE}:{port}/", timeout=PATIENCE)
        over.set()

    assert reply.error is ErrorClass.TIMEOUT


def test_reset(local: Vantage) -> None:
    """A connection that is reset while it waits for its answer is `reset`."""

    def talk(connection: socket.socket) -> None:
        next(heads(connection))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with serving(talk) as port:
        assert local.get(f"http://{HERE}:{port}/").error is ErrorClass.RESET


def test_closed(local: Vantage) -> None:
    """A server that closes without a word, or in the middle of a body, has `closed`."""
    with serving(saying(b"")) as port:
        assert local.get(f"http://{HERE}:{port}/").error is ErrorClass.CLOSED
    with serving(saying(http(b"whole")[:-2])) as port:
        assert local.get(f"http://{HERE}:{port}/").error is ErrorClass.CLOSED


def test_protocol(local: Vantage) -> None:
    """Something that does not speak HTTP is a `protocol` error."""
    with serving(saying(b"SSH-2.0-x\r\n")) as port:
        assert local.get(f"http://{HERE}:{port}/").error is ErrorClass.PROTOCOL


def test_unreachable(local: Vantage) -> None:
    """An address without a route is `unreachable`, at once."""
    reply = local.tcp("255.255.255.255", 80)

    assert reply.error in (ErrorClass.UNREACHABLE, ErrorClass.OTHER)
    assert local.tcp(HERE, 80, source="::1").error is ErrorClass.OTHER


def test_name(local: Vantage) -> None:
    """A name that does not resolve is a `name` error, and says which."""
    reply = local.get("http://nobody.invalid/")

    assert reply.error is ErrorClass.NAME
    assert "nobody.invalid" in reply.detail


def test_unicode_name(local: Vantage) -> None:
    """A name outside ASCII is asked for, or refused with a sentence; the probe goes on."""
    assert local.resolve("bücher.invalid").error is ErrorClass.NAME
    assert local.resolve("ü" * 80 + ".invalid").error is ErrorClass.NAME
    assert local.resolve("localhost").ok


def test_resolve(local: Vantage) -> None:
    """The place's own resolver gives addresses and the canonical name, or an error by name."""
    known = local.resolve("localhost", family="ipv4")
    unknown = local.resolve("nobody.invalid")

    assert known.addresses == (HERE,)
    assert known.canonical_name
    assert unknown.code in ("EAI_NONAME", "EAI_AGAIN", "EAI_NODATA")
    assert unknown.addresses == ()


def test_tcp_connects_sends_and_reads(local: Vantage) -> None:
    """TCP gives what the peer says, up to so many bytes or the first line."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"hello\nworld" + connection.recv(3))

    with serving(talk) as port:
        connected = local.tcp(HERE, port)
        line = local.tcp(HERE, port, send=b"\xff\x00!", read=100, line=True)
        five = local.tcp(HERE, port, send=b"abc", read=5)
        everything = local.tcp(HERE, port, send=b"\xff\x00!", read=100)

    assert connected.ok
    assert connected.data == b""
    assert line.data == b"hello\n"
    assert five.data == b"hello"
    assert everything.data == b"hello\nworld\xff\x00!"


def test_tcp_keeps_what_came_before_a_timeout(local: Vantage) -> None:
    """When less comes than was wanted, the reply has both the error and what came."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"half")
        connection.recv(1)

    with serving(talk) as port:
        reply = local.tcp(HERE, port, read=100, timeout=PATIENCE)

    assert reply.error is ErrorClass.TIMEOUT
    assert reply.data == b"half"


def test_udp_says_who_answered_and_which_client_was_seen(local: Vantage) -> None:
    """A datagram to the backend's UDP port is answered like its web pages."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            ip, port = self.client_address
            known = {b"hostname": b"web-1", b"clientip": f"{ip}:{port}".encode()}
            sock.sendto(known.get(data, data), self.client_address)

    with socketserver.ThreadingUDPServer((HERE, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        port = server.server_address[1]
        replies = local.ask(
            [UdpRequest(HERE, port, each) for each in (b"hostname", b"clientip", b"\xff\x00")]
        )
        server.shutdown()

    assert replies[0].pod == "web-1"
    assert replies[1].client_ip == HERE
    assert replies[2].to_json()["data"] == "\xff\x00"
    assert replies[2].pod is None


def test_udp_timeout(local: Vantage) -> None:
    """A datagram that nobody answers is a `timeout`."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as unread:
        unread.bind((HERE, 0))
        port = unread.getsockname()[1]

        assert local.udp(HERE, port, timeout=PATIENCE).error is ErrorClass.TIMEOUT


def test_source_address_can_be_chosen(local: Vantage) -> None:
    """A request can come from another of the place's addresses."""
    with serving(backend("web-1")) as port:
        (reply,) = local.web(HERE, port, source="127.0.0.2")

    assert reply.client_ip == "127.0.0.2"


def test_ipv6(local: Vantage) -> None:
    """An IPv6 address is asked like any other, in brackets in a URL."""
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")

    class Six(_Server):
        address_family = socket.AF_INET6

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            backend("web-6")(self.request)

    try:
        server = Six(("::1", 0), Handler)
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    with server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        reply = local.get(f"http://[::1]:{server.server_address[1]}/hostname")
        server.shutdown()

    assert reply.pod == "web-6"
    assert reply.local is not None
    assert reply.local.ip == "::1"


def test_read_file(local: Vantage) -> None:
    """The files that shape names can be read; no other file can."""
    assert "localhost" in local.read_file("/etc/hosts")
    with pytest.raises(InfrastructureError, match="not one of"):
        local.read_file("/etc/passwd")


def test_interfaces(local: Vantage) -> None:
    """The place's addresses are told, loopback among them."""
    assert HERE in local.interfaces().addresses


def test_interfaces_without_the_ip_program(local: Vantage, monkeypatch: Any) -> None:
    """Where there is no `ip`, the kernel's own tables give the same addresses."""
    known = local.interfaces().addresses
    monkeypatch.setenv("PATH", "/nowhere")
    with Vantage("bare", lambda: ProcessChannel([sys.executable, PROBE, "channel"])) as bare:
        reply = bare.interfaces()

    assert list(reply.links) == ["*"]
    assert reply.addresses == known


def test_a_stream_asks_while_other_questions_are_asked(local: Vantage) -> None:
    """A continuous client keeps asking, with times, while its vantage point asks other things."""
    with serving(backend("web-1")) as port:
        with local.continuously_web(HERE, port, every=0.005) as stream:
            others = local.web(HERE, port, times=100)
            running = stream.so_far(last=1)
        stopped = stream.replies

    assert len(others) == 100
    assert len(running) == 1
    assert stopped.ok
    assert stopped.counts() == {"web-1": len(stopped)}
    started = [reply.started for reply in stopped]
    assert started == sorted(started)


def test_a_stream_shows_when_its_target_was_away(local: Vantage) -> None:
    """When nobody listens any more, the stream's later replies say `refused`."""
    with ExitStack() as server:
        port = server.enter_context(serving(backend("web-1")))
        with local.continuously_web(HERE, port, every=0.005) as stream:
            wait_for(lambda: len(stream.so_far()) > 0, "the stream to ask")
            server.close()
            wait_for(lambda: "refused" in stream.so_far().error_counts(), "the stream to notice")

    assert stream.replies[0].ok
    assert stream.replies[-1].error is ErrorClass.REFUSED


def test_a_stream_keeps_no_more_than_it_may(local: Vantage, refused: int) -> None:
    """A stream ends by itself when it has the number of replies it may keep."""
    request = TcpRequest(HERE, refused)
    with local.continuously(request, every=0.001, most=5) as stream:
        wait_for(lambda: len(stream.so_far()) == 5, "the stream to have its replies")
        local.ask([request] * 50)

    assert stream.replies.error_counts() == {"refused": 5}
