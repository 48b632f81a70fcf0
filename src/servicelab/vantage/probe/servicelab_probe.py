"""Asks where it stands and says what it met: the far end of every vantage point.

`servicelab_probe.py idle` keeps a Pod or container alive (it may be process 1 there).
`servicelab_probe.py channel` reads a JSON object from each line of standard input and writes one
line of ASCII JSON for each; it ends with its input. Operations, each with an `id` that comes back:

    {"id": 1, "op": "ask", "requests": […], "workers": 1}     replies, in order
    {"id": 2, "op": "stream", "request": {…}, "every": 0.02, "most": 1000}   starts repeating
    {"id": 3, "op": "peek", "last": 20}    the stream's replies so far
    {"id": 4, "op": "stop"}                ends it: all its replies
    {"id": 5, "op": "ping"}                {"version": …, "time": …}
    {"op": "bye"}                          exits, without an answer

One file with the standard library only, because it is copied alone into an image; so it is longer
than a module should be. http.client rather than httpx: each exec starts this file anew, and
importing httpx and making its client costs 3.6 times the processor time of importing http.client
(httpx 0.28, Python 3.11); it also hides the socket, whose addresses and connect time we report.
dnspython alone costs 2.6 times http.client, so it is imported with the first DNS question.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import http.client

VERSION = 1
"""Of the lines described above."""

READABLE = ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/proc/net/ip_vs")
MOST_FILE_BYTES = 8 << 20
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
EAI_NAMES = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}
FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
MALFORMED = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a request of the wrong shape, or one that this place can't ask, ends in; never the probe."""

Json = dict[str, Any]


class Failure(Exception):
    """There was no answer: an error class and its detail."""

    def __init__(self, error: str, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail
        self.fields = fields


class DeadlineSocket(socket.socket):
    """A socket whose reads, also those through a file object, end at one moment in all."""

    deadline = float("inf")

    def hurry(self) -> None:
        """Allow the next operation only the time that is left."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.hurry()
        return super().recv_into(*arguments, **options)

    def recv(self, *arguments: Any) -> bytes:
        self.hurry()
        return super().recv(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self.hurry()
        super().sendall(*arguments)


class Call:
    """One request under way: what is asked, until when, and the reply as it fills."""

    def __init__(self, request: Json) -> None:
        self.request = request
        self.begun = time.monotonic()
        self.deadline = self.begun + float(request.get("timeout", 2.0))
        self.reply: Json = {"ok": True, "started": time.time()}

    def elapsed(self) -> float:
        """Seconds since the call began, to the microsecond."""
        return round(time.monotonic() - self.begun, 6)

    def connect(self, address: str, port: int, kind: socket.SocketKind) -> DeadlineSocket:
        """Connect to the first address that lets us; notes both ends and the time it took."""
        failure: OSError = OSError("no address to connect to")
        for family, target in self._targets(address, port, kind):
            sock = DeadlineSocket(family, kind)
            sock.deadline = self.deadline
            try:
                if self.request.get("source"):
                    sock.bind((self.request["source"], 0))
                sock.hurry()
                sock.connect(target)
            except OSError as error:
                sock.close()
                failure = error
                continue
            if kind == socket.SOCK_STREAM:
                self.reply["connect_seconds"] = self.elapsed()
            self.reply["local"] = list(sock.getsockname()[:2])
            self.reply["peer"] = list(target[:2])
            return sock
        raise failure

    def _targets(
        self, address: str, port: int, kind: socket.SocketKind
    ) -> Iterator[tuple[socket.AddressFamily, Any]]:
        try:
            found = socket.getaddrinfo(address, port, type=kind, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            found = self.look_up(address, port, type=kind)
        for family, _, _, _, target in found:
            yield family, target

    def look_up(self, name: str, port: int | None, **options: Any) -> list[Any]:
        """getaddrinfo, given up at the deadline; the C library knows none."""
        outcome: list[Any] = []

        def ask() -> None:
            try:
                outcome.append(socket.getaddrinfo(name, port, **options))
            except (OSError, UnicodeError) as error:
                outcome.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(max(0.0, self.deadline - time.monotonic()))
        if not outcome:
            raise Failure("timeout", f"no answer to the lookup of {name}")
        if isinstance(outcome[0], socket.gaierror):
            code = EAI_NAMES.get(outcome[0].errno or 0, str(outcome[0].errno))
            raise Failure("name", f"{name}: {outcome[0].strerror} ({code})", code=code)
        if isinstance(outcome[0], UnicodeError):
            raise Failure("name", f"{name!a} is no host name: {outcome[0]}", code="EAI_NONAME")
        if isinstance(outcome[0], OSError):
            raise outcome[0]
        return outcome[0]  # type: ignore[no-any-return]


def ask_http(call: Call) -> None:
    """One connection, the path and then each of `also` on it."""
    import http.client

    request = call.request
    address, port = request["address"], request.get("port", 80)
    shown = f"[{address}]" if ":" in address else address
    host = request.get("host") or (shown if port == 80 else f"{shown}:{port}")
    most = request.get("most_bytes", 65536)
    answers = call.reply["answers"] = []
    paths = [request.get("path", "/"), *request.get("also", ())]
    sock = call.connect(address, port, socket.SOCK_STREAM)
    connection = http.client.HTTPConnection(address, port)
    connection.auto_open = 0  # a second connection could reach another backend
    connection.sock = sock
    with contextlib.closing(connection):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for turn, path in enumerate(paths):
            first = turn == 0
            try:
                _send_http(connection, request, path, host, first)
                # A server that writes header and body apart would else wait 40 ms for our
                # delayed acknowledgement of the first.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                response = connection.getresponse()
                body = response.read(most + 1)
                if len(body) <= most and response.length:  # read(n) says nothing of a short body
                    raise http.client.IncompleteRead(body, response.length)
            except http.client.NotConnected as error:
                raise Failure("closed", f"the server closed before {path}") from error
            except (http.client.RemoteDisconnected, http.client.IncompleteRead) as error:
                raise Failure("closed", f"closed while answering {path}: {error}") from error
            except http.client.HTTPException as error:
                raise Failure("protocol", f"not HTTP: {type(error).__name__} {error}") from error
            headers: dict[str, str] = {}
            for name, value in response.getheaders():
                key = name.lower()
                headers[key] = f"{headers[key]}, {value}" if key in headers else value
            answers.append(
                {
                    "path": path,
                    "status": response.status,
                    "reason": response.reason,
                    "headers": headers,
                    "body": body[:most].decode("latin-1"),
                    "truncated": len(body) > most,
                }
            )
            if len(body) > most and turn + 1 < len(paths):
                raise Failure("protocol", f"{path} gave more than {most} bytes; nothing more asked")


def _send_http(
    connection: http.client.HTTPConnection, request: Json, path: str, host: str, first: bool
) -> None:
    method = request.get("method", "GET") if first else "GET"
    body = request.get("body", "").encode("latin-1") if method == "POST" else None
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host)
    for name, value in request.get("headers", ()):
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)


def ask_tcp(call: Call) -> None:
    """Connect, send, read up to so many bytes, the first newline or the end."""
    request = call.request
    wanted, line = request.get("read", 0), request.get("line", False)
    data = b""
    with call.connect(request["address"], request["port"], socket.SOCK_STREAM) as sock:
        try:
            if request.get("send"):
                sock.sendall(request["send"].encode("latin-1"))
            while len(data) < wanted and not (line and b"\n" in data):
                got = sock.recv(min(65536, wanted - len(data)))
                if not got:
                    break
                data += got
        finally:
            call.reply["data"] = _first_line(data, line).decode("latin-1")
    if wanted and not data:
        raise Failure("closed", "the peer closed and sent nothing")


def _first_line(data: bytes, line: bool) -> bytes:
    return data.partition(b"\n")[0] + b"\n" if line and b"\n" in data else data


def ask_udp(call: Call) -> None:
    """One datagram there, one back; the socket is connected, so a refusal is heard."""
    request = call.request
    with call.connect(request["address"], request["port"], socket.SOCK_DGRAM) as sock:
        sock.send(request.get("payload", "").encode("latin-1"))
        call.reply["data"] = sock.recv(65536).decode("latin-1")


def prepare_dns() -> None:
    """Import dnspython, so that its import is not counted as the name server's time."""
    if "dns" not in sys.modules and sys.flags.no_site:
        import site  # run with -S, so that only DNS pays for finding installed packages

        site.main()
    import dns.message  # noqa: F401


def ask_dns(call: Call) -> None:
    """One question to one server."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rdatatype
    import dns.reversename

    request = call.request
    name, tcp = request["name"], request.get("tcp", False)
    try:
        if request.get("rdtype", "A").upper() == "PTR":
            with contextlib.suppress(dns.exception.SyntaxError):
                name = dns.reversename.from_address(name)
        query = dns.message.make_query(name, request.get("rdtype", "A"))
    except dns.rdatatype.UnknownRdatatype as error:
        raise Failure("other", f"{request['rdtype']!a} is no record type") from error
    except dns.exception.DNSException as error:
        raise Failure("name", f"{name!a}: {type(error).__name__} {error}") from error
    query.use_edns(0 if request.get("edns") else False)
    if not request.get("recursion", True):
        query.flags &= ~dns.flags.RD
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    server = request.get("server") or _first_name_server()
    with call.connect(server, request.get("port", 53), kind) as sock:
        wire, message = _exchange(sock, query, tcp)
    call.reply["rcode"] = dns.rcode.to_text(message.rcode())
    call.reply["flags"] = dns.flags.to_text(message.flags).split()
    call.reply["question"] = " ".join(
        f"{each.name} {dns.rdatatype.to_text(each.rdtype)}" for each in message.question
    )
    call.reply["size"] = len(wire)
    for section in ("answer", "authority", "additional"):
        call.reply[section] = [
            [
                rrset.name.to_text(),
                rrset.ttl,
                dns.rdatatype.to_text(rrset.rdtype),
                rdata.to_text(),
            ]
            for rrset in getattr(message, section)
            for rdata in rrset
        ]


def _exchange(sock: DeadlineSocket, query: Any, tcp: bool) -> tuple[bytes, Any]:
    import dns.exception
    import dns.message

    question = query.to_wire()
    if tcp:
        sock.sendall(len(question).to_bytes(2, "big") + question)
        wire = _exactly(sock, int.from_bytes(_exactly(sock, 2), "big"))
    else:
        sock.send(question)
        wire = sock.recv(65535)
        while wire[:2] != question[:2]:  # not ours: late or forged
            wire = sock.recv(65535)
    try:
        message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    except dns.exception.DNSException as error:
        raise Failure("protocol", f"not a DNS answer: {type(error).__name__} {error}") from error
    if not query.is_response(message):
        raise Failure("protocol", "the server answered another question")
    return wire, message


def _exactly(sock: DeadlineSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        got = sock.recv(size - len(data))
        if not got:
            raise Failure("closed", f"the server closed after {len(data)} of {size} bytes")
        data += got
    return data


def _first_name_server() -> str:
    for words in map(str.split, contents("/etc/resolv.conf").splitlines()):
        if len(words) > 1 and words[0] == "nameserver":
            return words[1]
    raise Failure("name", "/etc/resolv.conf names no server")


def ask_resolve(call: Call) -> None:
    """What any program here would get for a name."""
    found = call.look_up(
        call.request["name"],
        None,
        family=FAMILIES[call.request.get("family", "any")],
        type=socket.SOCK_STREAM,
        flags=socket.AI_CANONNAME,
    )
    call.reply["addresses"] = list(dict.fromkeys(target[0] for *_, target in found))
    call.reply["canonical_name"] = found[0][3]


def contents(path: str) -> str:
    """The bytes of a file as Latin-1 text, cut where nothing we read should end."""
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib is one more import at each start
        return file.read(MOST_FILE_BYTES).decode("latin-1")


def ask_read_file(call: Call) -> None:
    """A file that shapes names or traffic."""
    path = call.request["path"]
    if path not in READABLE:
        raise Failure("other", f"{path!a} is not one of {', '.join(READABLE)}")
    call.reply["data"] = contents(path)


def ask_interfaces(call: Call) -> None:
    """The addresses of every link, from `ip`; without it from /proc, all under `*`."""
    import subprocess

    links: dict[str, list[str]] = {}
    try:
        run = subprocess.run(["ip", "-j", "addr"], capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        links["*"] = _addresses_in_proc()
    else:
        for link in json.loads(run.stdout):
            if link.get("ifname"):
                links[link["ifname"]] = [each["local"] for each in link.get("addr_info", ())]
    call.reply["links"] = links


def _addresses_in_proc() -> list[str]:
    found: dict[str, None] = {}
    leaf = ""
    for words in map(str.split, contents("/proc/net/fib_trie").splitlines()):
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words == ["/32", "host", "LOCAL"]:
            found[leaf] = None
    with contextlib.suppress(OSError):
        for line in contents("/proc/net/if_inet6").splitlines():
            found[socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line[:32]))] = None
    return list(found)


ASKERS: dict[str, Callable[[Call], None]] = {
    "http": ask_http,
    "tcp": ask_tcp,
    "udp": ask_udp,
    "dns": ask_dns,
    "resolve": ask_resolve,
    "read_file": ask_read_file,
    "interfaces": ask_interfaces,
}


def error_class(error: OSError) -> str:
    """What a user would call it."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)):
        return "reset"
    return "unreachable" if error.errno in UNREACHABLE else "other"


def answer(request: Json) -> Json:
    """Ask one request; whatever happens is in the reply."""
    try:
        asker = ASKERS[request["kind"]]
        if asker is ask_dns:
            prepare_dns()
        call = Call(request)
    except MALFORMED as error:
        detail = f"can't be asked: {type(error).__name__} {error}"
        return {"ok": False, "error": "other", "detail": detail, "started": time.time()}
    failure: Failure | None = None
    try:
        asker(call)
    except Failure as error:
        failure = error
    except OSError as error:
        failure = Failure(error_class(error), error.strerror or str(error))
    except MALFORMED as error:
        failure = Failure("other", f"{type(error).__name__}: {error}")
    if failure is not None:
        call.reply |= {"ok": False, "error": failure.error, "detail": failure.detail}
        call.reply |= failure.fields
    call.reply["seconds"] = call.elapsed()
    return call.reply


def answer_all(requests: list[Json], workers: int) -> list[Json]:
    """Ask them all, so many at a time, and keep their order."""
    if workers <= 1:
        return [answer(each) for each in requests]
    replies: list[Json] = [{}] * len(requests)
    todo = deque(enumerate(requests))

    def work() -> None:
        with contextlib.suppress(IndexError):
            while todo:
                index, request = todo.popleft()
                replies[index] = answer(request)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, 64))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


class Repeated(threading.Thread):
    """A request asked again and again, at fixed turns; a turn that is missed is not made up."""

    def __init__(self, request: Json, every: float, most: int) -> None:
        super().__init__(daemon=True)
        self.request = request
        self.every = every
        self.most = most
        self.replies: list[Json] = []
        self.over = threading.Event()

    def run(self) -> None:
        turn = time.monotonic()
        while not self.over.is_set() and len(self.replies) < self.most:
            self.replies.append(answer(self.request))
            turn = max(turn + self.every, time.monotonic())
            self.over.wait(turn - time.monotonic())

    def end(self) -> list[Json]:
        """Stop after the request that is under way."""
        self.over.set()
        self.join()
        return self.replies


class Conversation:
    """What the operations of one channel share: the stream, if there is one."""

    def __init__(self) -> None:
        self.stream: Repeated | None = None

    def do(self, question: Json) -> Json:
        """Carry out one operation; raises Failure if it makes no sense."""
        op = question.get("op")
        if op == "ask":
            return {"replies": answer_all(question["requests"], int(question.get("workers", 1)))}
        if op == "ping":
            return {"version": VERSION, "time": time.time()}
        if op == "stream":
            if self.stream is not None:
                raise Failure("other", "a stream is running already")
            every, most = float(question["every"]), int(question["most"])
            self.stream = Repeated(question["request"], every, most)
            self.stream.start()
            return {}
        if op in ("peek", "stop"):
            if self.stream is None:
                raise Failure("other", "no stream is running")
            if op == "peek":
                return {"replies": self.stream.replies[-int(question.get("last", 0)) :]}
            stream, self.stream = self.stream, None
            return {"replies": stream.end()}
        raise Failure("other", f"there is no operation {op!a}")


def reply_to(line: bytes, conversation: Conversation) -> Json | None:
    """The answer to one line; None for `bye`."""
    number: Any = None
    try:
        question = json.loads(line)
        number = question["id"] if question.get("op") != "bye" else None
        if question.get("op") == "bye":
            return None
        return {"id": number, "ok": True, **conversation.do(question)}
    except Failure as error:
        detail = error.detail
    except (*MALFORMED, RecursionError) as error:
        detail = f"not a question: {type(error).__name__} {error}"
    return {"id": number, "ok": False, "error": "other", "detail": detail}


def channel() -> int:
    """Answer lines until the input ends."""
    import http.client  # noqa: F401 - here, so that idle probes do without and no request pays

    conversation = Conversation()
    output = sys.stdout.buffer
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            if not line.strip():
                continue
            said = reply_to(line, conversation)
            if said is None:
                break
            output.write(json.dumps(said, separators=(",", ":")).encode("ascii") + b"\n")
            output.flush()
    return 0


def idle() -> int:
    """Wait for SIGTERM or SIGINT; bury the processes that others leave to process 1."""
    awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    print("idle", flush=True)
    while signal.sigwait(awaited) == signal.SIGCHLD:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    return 0


def main(arguments: list[str]) -> int:
    """Run one of the two roles."""
    roles = {"idle": idle, "channel": channel}
    if len(arguments) != 1 or arguments[0] not in roles:
        sys.stderr.write("usage: servicelab_probe.py idle|channel\n")
        return 2
    return roles[arguments[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
