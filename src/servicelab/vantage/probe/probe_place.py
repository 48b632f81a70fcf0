"""What the place is like: its resolver, its files that shape names or traffic, its addresses."""

from __future__ import annotations

import contextlib
import json
import socket

from probe_call import Call, Failure

READABLE = ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/proc/net/ip_vs")
MOST_FILE_BYTES = 8 << 20
FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


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
