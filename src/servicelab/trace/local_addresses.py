"""A node's own addresses, as its routing table has them: what iptables calls LOCAL."""

from __future__ import annotations

import re

from servicelab.observe.unreadable import RulesUnreadable

FIB_TRIE = ("cat", "/proc/net/fib_trie")
_HOST = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n((?:\s+/\d+ .*\n?)+)")


def parse_local(text: str) -> frozenset[str]:
    """Read /proc/net/fib_trie.

    Raises:
        RulesUnreadable: it has no local address, not even loopback's.
    """
    found = frozenset(match[1] for match in _HOST.finditer(text) if "/32 host LOCAL" in match[2])
    if not found:
        raise RulesUnreadable("/proc/net/fib_trie", "no local address in it", text[:80])
    return found
