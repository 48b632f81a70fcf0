"""A registry's access log: who asked it for what.

The registry of github.com/distribution/distribution writes one line a request on its standard
output, in Apache's combined format; what it has to say besides goes to standard error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(
    r"(?P<client>\S+) \S+ \S+ \[[^\]]*\] "
    r'"(?P<method>[A-Z]+) (?P<path>\S+) [^"]*" (?P<status>\d{3}) \S+ "[^"]*" "(?P<agent>[^"]*)"'
)
_RESOURCE = re.compile(r"/v2/(?P<repository>.+)/(?P<what>manifests|blobs)/(?P<reference>[^/?]+)")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and what the registry answered.

    Attributes:
        client: the address that it came from.
        method: "GET", "HEAD", "PUT", …
        path: what was asked for.
        status: the HTTP status of the answer.
        agent: the program that asked, as it names itself: "containerd/v2.2.1".
    """

    client: str
    method: str
    path: str
    status: int
    agent: str

    @property
    def repository(self) -> str:
        """The repository of a manifest or a blob: "metallb/speaker"; "" for other requests."""
        return self._resource("repository")

    @property
    def reference(self) -> str:
        """The tag or digest of a manifest or a blob; "" for other requests."""
        return self._resource("reference")

    @property
    def is_manifest(self) -> bool:
        """Whether a manifest was asked for, which is what resolves a tag."""
        return self._resource("what") == "manifests"

    @property
    def is_blob(self) -> bool:
        """Whether a layer or a configuration was asked for."""
        return self._resource("what") == "blobs"

    @property
    def was_given(self) -> bool:
        """Whether the registry had it and gave it, perhaps in parts."""
        return self.status in (200, 206)

    def _resource(self, part: str) -> str:
        match = _RESOURCE.match(self.path)
        return match[part] if match else ""


def parse_log(text: str) -> list[Request]:
    """The requests in a registry's output, in order; other lines are left out."""
    matches = (_LINE.match(line) for line in text.splitlines())
    return [
        Request(
            _host(match["client"]),
            match["method"],
            match["path"],
            int(match["status"]),
            match["agent"],
        )
        for match in matches
        if match
    ]


def _host(client: str) -> str:
    """An address without its port."""
    address, _, port = client.rpartition(":")
    plain = bool(address) and port.isdecimal() and (":" not in address or address.startswith("["))
    return (address if plain else client).strip("[]")
