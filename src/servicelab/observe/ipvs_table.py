"""What a kernel shows of IPVS: its table and connections, the addresses of kube-ipvs0, and ipsets.

The table's form is that of Linux 6.1 to 7.2, net/netfilter/ipvs/ip_vs_ctl.c (ip_vs_info_seq_show);
that of the connections ip_vs_conn.c's (ip_vs_conn_seq_show).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from servicelab.observe.port_rules import address, port_number
from servicelab.observe.unreadable import RulesUnreadable

_HEAD = (
    re.compile(r"IP Virtual Server version \d+\.\d+\.\d+ \(size=\d+\)"),
    re.compile(r"Prot LocalAddress:Port Scheduler Flags"),
    re.compile(r"  -> RemoteAddress:Port Forward Weight ActiveConn InActConn"),
)
_V4 = r"([0-9A-F]{8}):([0-9A-F]{4})"
_VIRTUAL = re.compile(rf"(TCP|UDP|SCTP)  {_V4} (\w+) (?:ops )? (?:persistent (\d+) [0-9A-F]{{8}})?")
_REAL = re.compile(rf"  -> {_V4} +(\w+) +(\d+) +(\d+) +(\d+) *")
_CONNECTION = re.compile(
    r"(TCP|UDP|SCTP|IP) +([0-9A-F]{8}) ([0-9A-F]{4}) ([0-9A-F]{8}) ([0-9A-F]{4}) "
    r"([0-9A-F]{8}) ([0-9A-F]{4}) (\w+) +(\d+).*"
)
# Local: an address of the node itself, as the API server's is.
_FORWARDS = frozenset({"Masq", "Local"})


@dataclass(frozen=True, slots=True)
class RealServer:
    """Where IPVS sends connections to.

    Attributes:
        ip: its address.
        port: its port.
        weight: its share; 0 takes no new connections and finishes those that it has.
        active: connections that are open.
        inactive: connections that are closing, or have no state (UDP).
    """

    ip: str
    port: int
    weight: int
    active: int
    inactive: int


@dataclass(frozen=True, slots=True)
class VirtualServer:
    """An address that IPVS takes connections for.

    Attributes:
        protocol: TCP, UDP or SCTP.
        ip: the address.
        port: the port.
        scheduler: how a real server is chosen, such as "rr".
        persistent: how long a client stays with its real server, in ticks of the kernel; None
            without persistence.
        reals: the real servers, in the kernel's order.
    """

    protocol: str
    ip: str
    port: int
    scheduler: str
    persistent: int | None
    reals: tuple[RealServer, ...]


@dataclass(frozen=True, slots=True)
class IpvsConnection:
    """A connection that IPVS has sent to a real server.

    Attributes:
        protocol: TCP, UDP or SCTP.
        client: its address and port.
        virtual: the address and port that the client asked.
        real: the address and port of the real server.
        state: such as "ESTABLISHED".
        line: as the kernel prints it.
    """

    protocol: str
    client: tuple[str, int]
    virtual: tuple[str, int]
    real: tuple[str, int]
    state: str
    line: str


@dataclass(frozen=True, slots=True)
class IpSet:
    """A set of the kernel's.

    Attributes:
        name: such as "KUBE-CLUSTER-IP".
        kind: such as "hash:ip,port".
        entries: as `ipset save` prints them, such as "10.96.0.1,tcp:443".
    """

    name: str
    kind: str
    entries: tuple[str, ...]


def parse_table(text: str) -> tuple[VirtualServer, ...]:
    """Read /proc/net/ip_vs.

    Raises:
        RulesUnreadable: the text is cut or garbled; the message names the line.
    """
    lines = text.splitlines()
    if text and not text.endswith("\n"):
        raise RulesUnreadable(f"/proc/net/ip_vs line {len(lines)}", "it is cut", lines[-1])
    for number, head in enumerate(_HEAD):
        found = lines[number] if number < len(lines) else ""
        if not head.fullmatch(found):
            raise RulesUnreadable(f"/proc/net/ip_vs line {number + 1}", "no heading", found)
    servers: list[VirtualServer] = []
    reals: list[RealServer] = []
    for number, line in enumerate(lines[len(_HEAD) :], len(_HEAD) + 1):
        where = f"/proc/net/ip_vs line {number}"
        if match := _REAL.fullmatch(line):
            if not servers:
                raise RulesUnreadable(where, "a real server without a virtual one", line)
            if match[3] not in _FORWARDS:
                raise RulesUnreadable(where, "not forwarded as kube-proxy does", line)
            reals.append(
                RealServer(
                    _address(match[1]), _port(match[2], where),
                    int(match[4]), int(match[5]), int(match[6]),
                )
            )  # fmt: skip
        elif match := _VIRTUAL.fullmatch(line):
            _close(servers, reals)
            ticks = int(match[5]) if match[5] else None
            servers.append(
                VirtualServer(
                    match[1], _address(match[2]), _port(match[3], where), match[4], ticks, ()
                )
            )
        else:
            raise RulesUnreadable(where, "neither a virtual nor a real server", line)
    _close(servers, reals)
    return tuple(servers)


def parse_connections(text: str) -> tuple[IpvsConnection, ...]:
    """Read /proc/net/ip_vs_conn; the templates of persistence, which have no port, are left out.

    Raises:
        RulesUnreadable: the text is cut or garbled; the message names the line.
    """
    found = []
    lines = text.splitlines()
    if not lines or not lines[0].startswith("Pro FromIP"):
        raise RulesUnreadable("/proc/net/ip_vs_conn line 1", "no heading", "\n".join(lines[:1]))
    for number, line in enumerate(lines[1:], 2):
        match = _CONNECTION.fullmatch(line.rstrip())
        if match is None:
            if ":" in line.partition(" ")[2][:41]:
                continue  # IPv6
            raise RulesUnreadable(f"/proc/net/ip_vs_conn line {number}", "no connection", line)
        ends = [(_address(match[at]), int(match[at + 1], 16)) for at in (2, 4, 6)]
        if match[1] == "IP" or not all(port for _, port in ends):
            continue
        found.append(IpvsConnection(match[1], ends[0], ends[1], ends[2], match[8], line.rstrip()))
    return tuple(found)


def parse_addresses(text: str) -> frozenset[str]:
    """Read the IPv4 addresses in the output of `ip -json address show dev kube-ipvs0`.

    Raises:
        RulesUnreadable: it is something else.
    """
    where = "the addresses of kube-ipvs0"
    try:
        (link,) = [entry for entry in json.loads(text) if entry]
        held = [entry["local"] for entry in link["addr_info"] if entry["family"] == "inet"]
    except (ValueError, TypeError, KeyError):
        raise RulesUnreadable(where, "not what `ip -json address show` prints", text) from None
    return frozenset(address(entry, where) for entry in held)


def parse_sets(text: str) -> tuple[IpSet, ...]:
    """Read the output of `ipset save`.

    Raises:
        RulesUnreadable: a line neither creates a set nor adds to one that was created.
    """
    kinds: dict[str, str] = {}
    entries: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words[:1] == ["create"] and len(words) > 2 and words[1] not in kinds:
            kinds[words[1]] = words[2]
            entries[words[1]] = []
        elif words[:1] == ["add"] and len(words) > 2 and words[1] in kinds:
            entries[words[1]].append(words[2])
        else:
            raise RulesUnreadable(f"ipset save line {number}", "neither create nor add", line)
    return tuple(IpSet(name, kind, tuple(entries[name])) for name, kind in kinds.items())


def _close(servers: list[VirtualServer], reals: list[RealServer]) -> None:
    """Give the last virtual server its real ones."""
    if servers:
        last = servers[-1]
        servers[-1] = VirtualServer(
            last.protocol, last.ip, last.port, last.scheduler, last.persistent, tuple(reals)
        )
    reals.clear()


def _address(hexadecimal: str) -> str:
    return str(IPv4Address(int(hexadecimal, 16)))


def _port(hexadecimal: str, where: str) -> int:
    return port_number(int(hexadecimal, 16), where)
