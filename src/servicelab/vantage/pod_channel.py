"""A probe in a Pod, reached through the API server as `kubectl exec` does, over a WebSocket.

The official client's `stream()` is not used: it replaces a method of the ApiClient while it
connects, so that other threads' calls go astray; it keeps everything ever received; and it can
neither time out while it connects nor read a long line without copying it for each frame.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from servicelab.vantage.channel import PROBE_ARGV, ChannelBroken, Lines
from servicelab.verdict import deadlines

if TYPE_CHECKING:
    from kubernetes.client import Configuration

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, STATUS = range(4)
FRAME_BYTES = 32_768
"""A longer question is sent in frames of this size, so that nobody on the way refuses one."""
BYE = b'{"op":"bye"}'


class PodChannel:
    """An exec into a Pod.

    Args:
        configuration: of the Kubernetes client; it is only read.
        namespace: the Pod's.
        pod: its name.
        container: the one with the probe; None if the Pod has only one.

    Raises:
        ChannelBroken: the API server or the Pod does not let us in.
    """

    def __init__(
        self, configuration: Configuration, namespace: str, pod: str, container: str | None = None
    ) -> None:
        import websocket  # takes 30 ms, which collecting tests should not

        self._websocket = websocket
        self._pod = f"{namespace}/{pod}"
        self._lines = Lines()
        self._said: dict[int, bytes] = {STDERR: b"", STATUS: b""}
        query: list[tuple[str, str]] = [("command", each) for each in (*PROBE_ARGV, "channel")]
        query += [("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
        if container:
            query.append(("container", container))
        server = urlsplit(configuration.host)
        url = (
            f"{'ws' if server.scheme == 'http' else 'wss'}://{server.netloc}"
            f"{server.path.rstrip('/')}/api/v1/namespaces/{namespace}/pods/{pod}/exec"
            f"?{urlencode(query)}"
        )
        try:
            self._socket: Any = websocket.create_connection(
                url,
                timeout=deadlines.current().probe_reached.seconds,
                subprotocols=list(PROTOCOLS),
                suppress_origin=True,
                redirect_limit=0,
                enable_multithread=False,
                **_access(configuration),
            )
        except websocket.WebSocketBadStatusException as error:
            raise ChannelBroken(f"no way into Pod {self._pod}: {_reason(error)}") from error
        except (websocket.WebSocketException, OSError) as error:
            raise ChannelBroken(
                f"no way into Pod {self._pod} through {configuration.host}: {error}"
            ) from error
        self._open = True

    def exchange(self, line: bytes, timeout: float) -> bytes:
        """Send one line and wait for the line that answers it; see Channel."""
        if not self._open:
            raise ChannelBroken(f"the channel to Pod {self._pod} is closed")
        deadline = time.monotonic() + timeout
        try:
            self._write(line + b"\n", timeout)
            return self._read(deadline)
        except self._websocket.WebSocketTimeoutException as error:
            self.close()
            raise ChannelBroken(
                f"the probe in Pod {self._pod} did not answer within {timeout:.0f} s"
            ) from error
        except (self._websocket.WebSocketException, OSError) as error:
            self.close()
            raise ChannelBroken(f"the probe in Pod {self._pod} is gone: {error}") from error
        except ChannelBroken:
            self.close()
            raise

    def _write(self, data: bytes, timeout: float) -> None:
        self._socket.settimeout(timeout)
        for start in range(0, len(data), FRAME_BYTES):
            self._socket.send_binary(bytes([STDIN]) + data[start : start + FRAME_BYTES])

    def _read(self, deadline: float) -> bytes:
        line = self._lines.take()
        while line is None:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            opcode, data = self._socket.recv_data()
            if opcode == self._websocket.ABNF.OPCODE_CLOSE or data[:1] == bytes([STATUS]):
                self._said[STATUS] += data[1:] if data[:1] == bytes([STATUS]) else b""
                raise ChannelBroken(f"the probe in Pod {self._pod} ended: {self._why()}")
            if data[:1] == bytes([STDOUT]):
                line = self._lines.add(data[1:])
            elif data[:1] == bytes([STDERR]):
                self._said[STDERR] = (self._said[STDERR] + data[1:])[-4096:]
        return line

    def _why(self) -> str:
        """The last line on its standard error, else what the API server said of its end."""
        words = self._said[STDERR].decode("utf-8", "replace").strip().splitlines()
        if words:
            return words[-1]
        try:
            return str(json.loads(self._said[STATUS])["message"])
        except (ValueError, LookupError, TypeError):
            return "the connection was closed"

    def close(self) -> None:
        """Have the probe exit, and hang up."""
        if not self._open:
            return
        self._open = False
        # The probe's input does not always end with the connection, so it is told.
        with contextlib.suppress(self._websocket.WebSocketException, OSError):
            self._write(BYE + b"\n", timeout=1.0)
        with contextlib.suppress(self._websocket.WebSocketException, OSError):
            self._socket.close(timeout=0)
        self._socket.shutdown()


def _access(configuration: Configuration) -> dict[str, Any]:
    """Credentials, TLS and proxy, as the client's own HTTP requests have them."""
    bearer = configuration.auth_settings().get("BearerToken", {}).get("value")
    tls: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    if configuration.verify_ssl:
        tls = {"cert_reqs": ssl.CERT_REQUIRED}
        if configuration.ssl_ca_cert:
            tls["ca_certs"] = configuration.ssl_ca_cert
        if configuration.assert_hostname is not None:
            tls["check_hostname"] = configuration.assert_hostname
    if configuration.cert_file:
        tls["certfile"] = configuration.cert_file
    if configuration.key_file:
        tls["keyfile"] = configuration.key_file
    if getattr(configuration, "tls_server_name", None):
        tls["server_hostname"] = configuration.tls_server_name
    access: dict[str, Any] = {
        "sslopt": tls,
        "header": [f"authorization: {bearer}"] if bearer else [],
    }
    if configuration.proxy:
        proxy = urlsplit(configuration.proxy)
        access |= {"http_proxy_host": proxy.hostname, "http_proxy_port": proxy.port}
        access["http_no_proxy"] = (configuration.no_proxy or "").split(",")
        access["http_no_proxy"] += ["localhost", "127.0.0.1"]
    else:
        access["http_no_proxy"] = ["*"]
    return access


def _reason(error: Any) -> str:
    """What the API server says in the body of a refused upgrade."""
    try:
        return str(json.loads(error.resp_body)["message"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"HTTP {error.status_code}"
