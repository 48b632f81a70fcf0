"""Does a packet match a line of iptables? Chance and memory are told by what moved afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from servicelab.observe.iptables_save import Line
from servicelab.observe.ipvs_table import IpSet
from servicelab.trace.hop import Hop
from servicelab.trace.packet import Packet

#: Options that say what the target does, or that nothing depends on.
_NO_CONDITION = frozenset(
    {
        *("-j", "--comment", "--mask", "--name", "--nfacct-name", "--random-fully", "--reap"),
        *("--reject-with", "--rsource", "--set", "--set-xmark", "--to-destination", "--mode"),
        "--seconds",
    }
)
_CHANCE = frozenset({"--probability", "--rcheck"})
_NEW = "NEW"


@dataclass(slots=True)
class Moment:
    """What a line is judged by.

    Attributes:
        packet: the packet as it comes to the line.
        sets: the node's ipsets.
        chosen: whether the line leads to the endpoint that was chosen; None if that isn't known.
        hop: the line's counters.
        chance: whether the line's match was left to chance or to the kernel's memory.
    """

    packet: Packet
    sets: Mapping[str, IpSet]
    chosen: bool | None
    hop: Hop
    chance: bool = False


def matching(line: Line, options: Mapping[str, str], moment: Moment) -> bool:
    """Whether the packet matches the line.

    Raises:
        RulesUnreadable: an option that kube-proxy's rules on a packet's way are not known to have.
    """
    uncertain = False
    for key, value in options.items():
        option = key.removeprefix("! ")
        if option in _NO_CONDITION:
            continue
        if option in _CHANCE:
            moment.chance = True
            continue
        holds = _holds(line, option, value, moment)
        if holds is None:
            uncertain = True
        elif holds == key.startswith("! "):
            return False
    if uncertain and moment.hop.moved is False:
        return False
    return not moment.chance or _took_chance(options, moment)


def _took_chance(options: Mapping[str, str], moment: Moment) -> bool:
    """Whether chance, or the kernel's memory of the client, made the line match."""
    moved = moment.hop.moved
    if moment.chosen is None:
        return bool(moved)
    if "--rcheck" in options:
        # Memory and dice lead to the same endpoint: only the counters tell them apart.
        return moment.chosen and moved is not False
    return moment.chosen


def _holds(line: Line, option: str, value: str, moment: Moment) -> bool | None:
    """Whether one condition holds; None if it can't be told from here."""
    packet = moment.packet
    match option:
        case "-d" | "-s":
            ip = packet.destination if option == "-d" else packet.source
            try:
                return ip_address(ip) in ip_network(value)
            except ValueError:
                raise line.unreadable(f"{option} is not a range of addresses") from None
        case "-p":
            return value == packet.protocol
        case "--dport":
            return value == str(packet.port)
        case "--dst-type" | "--src-type" if value == "LOCAL":
            return packet.is_local(packet.destination if option == "--dst-type" else packet.source)
        case "--mark":
            return _marked(line, value, packet.mark)
        case "--ctstate":
            states = value.split(",")
            return _NEW in states or ("DNAT" in states and packet.translated)
        case "--match-set":
            return _in_set(line, value, moment)
        case "--physdev-is-in":
            return False
        case "-i":
            return None
    raise line.unreadable(f"{option} not expected on a packet's way")


def _marked(line: Line, text: str, mark: int) -> bool:
    value, _, mask = text.partition("/")
    try:
        return mark & int(mask or "0xffffffff", 0) == int(value, 0)
    except ValueError:
        raise line.unreadable("--mark is not a number and a mask") from None


def _in_set(line: Line, text: str, moment: Moment) -> bool:
    """Whether the packet is in an ipset, by the parts of it that the rule names."""
    name, _, directions = text.partition(" ")
    found = moment.sets.get(name)
    if found is None:
        raise line.unreadable(f"there is no ipset {name}")
    kinds = found.kind.partition(":")[2].split(",")
    if len(kinds) != len(directions.split(",")):
        raise line.unreadable(f"{directions} is not what {found.kind} asks for")
    packet = moment.packet
    wanted = []
    for kind, direction in zip(kinds, directions.split(","), strict=True):
        if kind == "port":
            wanted.append(f"{packet.protocol}:{packet.port}")
        else:
            wanted.append(packet.destination if direction == "dst" else packet.source)
    if kinds == ["port"]:  # bitmap:port has no protocol
        return str(packet.port) in found.entries
    return any(_same(kinds, entry, wanted) for entry in found.entries)


def _same(kinds: list[str], entry: str, wanted: list[str]) -> bool:
    parts = entry.split(",")
    if len(parts) != len(kinds):
        return False
    for kind, part, want in zip(kinds, parts, wanted, strict=True):
        if kind == "net":
            if ip_address(want) not in ip_network(part):
                return False
        elif part != want:
            return False
    return True
