"""The sites of the world beside a cluster: their names, and the servers behind them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from servicelab.errors import UsageError

TTL = 60
"""Seconds that an answer of the name server may be kept."""

NAME_SERVER = "ns.example.net."


@dataclass(frozen=True, slots=True)
class Sites:
    """Names in the public DNS, and the web servers that they lead to.

    Attributes:
        zones: what the name server speaks for, without last dots.
        servers: the web servers, each with the sites (virtual hosts) that it has.
        aliases: CNAME records: a name, and the one it stands for.
        hosts: A records: a name, and the servers whose addresses it has.
    """

    zones: tuple[str, ...]
    servers: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, str]
    hosts: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        for server in {each for servers in self.hosts.values() for each in servers}:
            if server not in self.servers:
                raise UsageError(f"the sites name a server {server!r} that is not one of them")
        for name in (*self.aliases, *self.hosts):
            if not any(name.endswith(f".{zone}") for zone in self.zones):
                raise UsageError(f"the name {name} is in none of the zones {self.zones}")

    def chain(self, name: str) -> tuple[str, ...]:
        """A name and those that it stands for, one after the other."""
        names = [name]
        while (stands_for := self.aliases.get(names[-1])) is not None:
            names.append(stands_for)
        return tuple(names)

    def servers_of(self, name: str) -> tuple[str, ...]:
        """The servers that a name leads to; none if it leads nowhere."""
        return self.hosts.get(self.chain(name)[-1], ())

    def zone_file(self, zone: str, addresses: Mapping[str, str]) -> str:
        """One zone as its master file (RFC 1035).

        Args:
            zone: one of `zones`.
            addresses: IPv4 address by server.
        """
        lines = [
            f"$TTL {TTL}",
            f"{zone}. IN SOA {NAME_SERVER} hostmaster.example.net. 1 3600 600 86400 {TTL}",
            f"{zone}. IN NS {NAME_SERVER}",
        ]
        for name, stands_for in self.aliases.items():
            if name.endswith(f".{zone}"):
                lines.append(f"{name}. IN CNAME {stands_for}.")
        for name, servers in self.hosts.items():
            if name.endswith(f".{zone}"):
                lines += [f"{name}. IN A {addresses[server]}" for server in servers]
        return "\n".join(lines) + "\n"


def read_sites(path: Path | None = None) -> Sites:
    """Read sites; those that come with servicelab unless a file is named.

    Raises:
        UsageError: the file can't be read or lacks a table.
    """
    where = path or resources.files("servicelab.world") / "sites.toml"
    try:
        data: dict[str, Any] = tomllib.loads(where.read_text("utf-8"))
        return Sites(
            tuple(data["zones"]),
            {name: tuple(sites) for name, sites in data["servers"].items()},
            dict(data["aliases"]),
            {name: tuple(servers) for name, servers in data["hosts"].items()},
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(
            f"the sites in {where} can't be read: {type(error).__name__} {error}",
            remedy="write zones, and tables servers, aliases and hosts",
        ) from error
