"""What a vantage point is like: its files that shape names and traffic, and its addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from servicelab.vantage.reply import DataReply, Reply
from servicelab.vantage.request import Request


@dataclass(frozen=True, slots=True)
class ReadFileRequest(Request):
    """A file that shapes names or traffic there; the probe has a short list of those it reads."""

    kind: ClassVar[str] = "read_file"

    path: str

    @property
    def target(self) -> str:
        """`read /etc/resolv.conf`."""
        return f"read {self.path}"


@dataclass(frozen=True, slots=True)
class InterfacesRequest(Request):
    """The addresses on each link."""

    kind: ClassVar[str] = "interfaces"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReply(DataReply):
    """What a file holds."""

    kind: ClassVar[str] = "read_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfacesReply(Reply):
    """The addresses on each link there.

    Attributes:
        links: addresses (without prefix length) by link name. Where the place has no `ip`
            program the kernel tells the addresses without their links: then all stand under `*`.
    """

    kind: ClassVar[str] = "interfaces"

    links: Mapping[str, tuple[str, ...]]

    @property
    def addresses(self) -> frozenset[str]:
        """Every address, on whichever link."""
        return frozenset(each for addresses in self.links.values() for each in addresses)

    def _own_json(self) -> dict[str, Any]:
        return {"links": {name: list(addresses) for name, addresses in self.links.items()}}

    @classmethod
    def _own_fields(cls, wire: Mapping[str, Any]) -> dict[str, Any]:
        return {"links": {name: tuple(each) for name, each in wire.get("links", {}).items()}}
