"""Rules that can't be read as kube-proxy's."""

from __future__ import annotations

from servicelab.errors import InfrastructureError

_SHOWN = 160  # characters of an element that a message quotes


class RulesUnreadable(InfrastructureError):
    """A node's rules are cut, garbled, or not in a form kube-proxy is known to write.

    Args:
        where: the line, chain, rule or element.
        what: what is wrong with it.
        element: its text, quoted in the message; empty if there is nothing to quote.
    """

    def __init__(self, where: str, what: str, element: object = "") -> None:
        shown = str(element)
        if len(shown) > _SHOWN:
            shown = shown[: _SHOWN - 1] + "…"
        super().__init__(
            f"{where}: {what}" + (f": {shown}" if shown else ""),
            remedy="see the node's whole rules: iptables-save, nft list table ip kube-proxy, "
            "or cat /proc/net/ip_vs",
        )
        self.where = where
