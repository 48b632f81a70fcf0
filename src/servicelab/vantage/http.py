"""HTTP from a vantage point: requests on connections of their own, and what came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from servicelab.errors import UsageError
from servicelab.vantage.reply import Reply, host_of
from servicelab.vantage.request import Request, bracketed, check_target

MOST_BYTES = 65_536
"""Bytes of a body that come back; what is longer is cut and marked so."""


@dataclass(frozen=True, slots=True)
class HttpRequest(Request):
    """An HTTP request on a TCP connection of its own.

    Attributes:
        address: IP address, or a name that the vantage point's own resolver looks up.
        port: TCP port.
        path: path and query.
        method: GET, HEAD or POST.
        host: Host header to send instead of the address.
        headers: further headers, as pairs.
        body: what to send with POST.
        also: more paths to GET on the same connection, so that their answers come from the
            same backend.
        source: local address to ask from, where the vantage point has several.
        most_bytes: bytes of each body that come back.
    """

    kind: ClassVar[str] = "http"
    BYTES: ClassVar[frozenset[str]] = frozenset({"body"})

    address: str
    port: int = 80
    path: str = "/"
    method: str = "GET"
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    also: tuple[str, ...] = ()
    source: str | None = None
    most_bytes: int = MOST_BYTES

    def __post_init__(self) -> None:
        Request.__post_init__(self)
        check_target(self.address, self.port)
        if self.method not in ("GET", "HEAD", "POST"):
            raise UsageError(f"the HTTP method {self.method!r} is not GET, HEAD or POST")
        for text in (self.path, *self.also):
            if not text.startswith("/") or not text.isascii() or not text.isprintable():
                raise UsageError(f"{text!r} is not an HTTP path: it starts with / and is ASCII")
            if " " in text:
                raise UsageError(f"the HTTP path {text!r} has a space; write %20 instead")
        for text in (self.host or "", *(part for pair in self.headers for part in pair)):
            if not text.isascii() or not (text.isprintable() or not text):
                raise UsageError(f"{text!r} can't stand in an HTTP header: it is not plain ASCII")

    @classmethod
    def to(cls, url: str, **changes: Any) -> HttpRequest:
        """A request for a URL, with any field of HttpRequest changed.

        Raises:
            UsageError: it is not an http:// URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{url!r} is not a URL: {error}") from error
        if parts.scheme != "http" or not parts.hostname or parts.username is not None:
            raise UsageError(f"{url!r} is not of the form http://HOST[:PORT]/PATH")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        values: dict[str, Any] = {"address": parts.hostname, "path": path}
        values["port"] = 80 if port is None else port
        return cls(**(values | changes))

    @property
    def idempotent(self) -> bool:
        """GET and HEAD are; POST is not."""
        return self.method != "POST"

    @property
    def target(self) -> str:
        """`GET http://10.96.0.1:80/hostname`."""
        return f"{self.method} http://{bracketed(self.address)}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One HTTP response.

    Attributes:
        path: the path it answers.
        status: HTTP status.
        reason: the text beside it.
        headers: by lower-case name; repeated ones joined with a comma.
        body: what was read of the body.
        truncated: whether there was more than the request's `most_bytes`.
    """

    path: str
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as UTF-8; what isn't comes as replacement characters."""
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply(Reply):
    """The answers that came on one connection: to the path, then to each of `also`."""

    kind: ClassVar[str] = "http"

    answers: tuple[HttpAnswer, ...] = ()

    def answer(self, path: str) -> HttpAnswer | None:
        """The answer to a path, None if there was none."""
        return next((each for each in self.answers if each.path == path), None)

    @property
    def status(self) -> int | None:
        """HTTP status of the first answer."""
        return self.answers[0].status if self.answers else None

    @property
    def body(self) -> bytes:
        """Body of the first answer."""
        return self.answers[0].body if self.answers else b""

    @property
    def text(self) -> str:
        """Body of the first answer as text."""
        return self.answers[0].text if self.answers else ""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the first answer, by lower-case name."""
        return self.answers[0].headers if self.answers else {}

    @property
    def pod(self) -> str | None:
        """What /hostname said."""
        return self._said("/hostname")

    @property
    def client_ip(self) -> str | None:
        """What /clientip said, without the port."""
        said = self._said("/clientip")
        return None if said is None else host_of(said)

    def _said(self, path: str) -> str | None:
        answer = self.answer(path)
        return answer.text.strip() if answer is not None and answer.status == 200 else None

    @property
    def outcome(self) -> str:
        """Status, or the error."""
        return f"{self.error}: {self.detail}" if self.error else str(self.status)

    def _own_json(self) -> dict[str, Any]:
        return {
            "answers": [
                {
                    "path": each.path,
                    "status": each.status,
                    "reason": each.reason,
                    "headers": dict(each.headers),
                    "body": each.body.decode("latin-1"),
                    "truncated": each.truncated,
                }
                for each in self.answers
            ]
        }

    @classmethod
    def _own_fields(cls, wire: Mapping[str, Any]) -> dict[str, Any]:
        answers = tuple(
            HttpAnswer(
                path=each["path"],
                status=each["status"],
                reason=each.get("reason", ""),
                headers=each.get("headers", {}),
                body=each.get("body", "").encode("latin-1"),
                truncated=each.get("truncated", False),
            )
            for each in wire.get("answers", ())
        )
        return {"answers": answers}
