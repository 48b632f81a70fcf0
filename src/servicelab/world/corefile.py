"""The text of a Corefile: a block of ours in it, put in and taken out again."""

from __future__ import annotations

from collections.abc import Sequence

BEGIN = "# servicelab: names of the world beside the cluster, as long as it stands"
END = "# servicelab: end"


def with_forwarding(corefile: str, zones: Sequence[str], server: str) -> str:
    """The Corefile with these zones asked of a name server; an older block of ours is replaced.

    Without a cache: what the world says holds at once, and its end leaves nothing behind.

    Args:
        corefile: the text.
        zones: names of zones.
        server: IP address of their name server.
    """
    block = [
        BEGIN,
        f"{' '.join(f'{zone}:53' for zone in zones)} {{",
        "    errors",
        f"    forward . {server}",
        "}",
        END,
    ]
    return "\n".join(block) + "\n" + without_forwarding(corefile)


def without_forwarding(corefile: str) -> str:
    """The Corefile without a block of ours; as it was before `with_forwarding`."""
    head, begin, rest = corefile.partition(BEGIN)
    _, end, tail = rest.partition(END + "\n")
    return head + tail if begin and end else corefile


def forwards_to(corefile: str) -> str | None:
    """The name server that our block leads to; None without a block."""
    block = corefile.partition(BEGIN)[2].partition(END)[0]
    words = [line.split() for line in block.splitlines()]
    return next((each[2] for each in words if each[:2] == ["forward", "."]), None)
