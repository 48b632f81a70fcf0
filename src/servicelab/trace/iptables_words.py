"""Lines of iptables in a learner's words: why the packet matched, and what the line does."""

from __future__ import annotations

import re
from collections.abc import Mapping

from servicelab.trace.packet import Packet
from servicelab.trace.words import one_of

_SETS = {
    "KUBE-CLUSTER-IP": "a Service's address and port",
    "KUBE-LOOP-BACK": "a Pod that is sent back to itself",
    "KUBE-LOAD-BALANCER": "a load balancer's address and port",
    "KUBE-EXTERNAL-IP": "an external address and port",
    "KUBE-NODE-PORT-TCP": "a node port",
    "KUBE-NODE-PORT-UDP": "a node port",
}
_ENDS = {
    "ACCEPT": "lets it pass",
    "DROP": "drops it: nobody answers",
    "REJECT": "answers with an ICMP error: connection refused",
    "MASQUERADE": "gives it the node's own address as its source",
}
_CHAINS = {
    "KUBE-SERVICES": "looks the destination up among all Services",
    "KUBE-NODEPORTS": "looks the port up among all node ports",
    "KUBE-NODE-PORT": "looks the port up among all node ports",
    "KUBE-POSTROUTING": "sees whether it is to be masqueraded",
    "KUBE-FORWARD": "lets what Services forward pass",
    "KUBE-EXTERNAL-SERVICES": "looks for addresses from outside that lead nowhere",
    "KUBE-PROXY-FIREWALL": "looks for clients that a load balancer's ranges leave out",
    "KUBE-LOAD-BALANCER": "marks what came by a load balancer",
}
_PREFIXES = {
    "KUBE-SVC-": "goes to the Service's chain, with all endpoints",
    "KUBE-SVL-": "goes to the Service's chain of endpoints on this node",
    "KUBE-EXT-": "goes to the Service's chain for traffic from outside",
    "KUBE-FW-": "goes to the load balancer's list of allowed clients",
    "KUBE-SEP-": "goes to that endpoint's chain",
}
_ENDPOINT = re.compile(r"-> (\S+)$")


def matched(options: Mapping[str, str], packet: Packet, place: int, total: int) -> str:
    """Why a packet matched a line.

    Args:
        options: the line's.
        packet: the packet, as it came to the line.
        place: for a line that leads to one of several endpoints, its place among them, from 1.
        total: how many there are; 0 for any other line.
    """
    words: list[str] = []
    if "-d" in options:
        words.append(f"destination {packet.destination}")
    if "--dport" in options:
        words.append(f"port {options['--dport']}/{packet.protocol}")
    if "-s" in options:
        words.append(f"source {packet.source} in {_range(options['-s'])}")
    if "! -s" in options:
        words.append(f"source {packet.source} not in {_range(options['! -s'])}")
    if "--dst-type" in options:
        words.append(f"{packet.destination} is an address of the node itself")
    if "--src-type" in options:
        words.append(f"{packet.source} is an address of the node itself")
    if "--rcheck" in options:
        words.append(f"this client came here within the last {options.get('--seconds')} s")
    if "--probability" in options:
        chance = f"with probability {float(options['--probability']):.3g}"
        words.append(f"the {one_of(place, total)} endpoints, by dice {chance}")
    elif total and "--rcheck" not in options:
        words.append(
            f"the {one_of(place, total)} endpoints, which takes the rest"
            if total > 1
            else "the only endpoint"
        )
    words += _marks(options)
    if sets := options.get("--match-set"):
        name = sets.split()[0]
        words.append(f"in the ipset {name} ({_SETS[name]})" if name in _SETS else f"in {name}")
    if sets := options.get("! --match-set"):
        words.append(f"not in the ipset {sets.split()[0]}")
    if "--ctstate" in options and not words:
        words.append("the first packet of its connection")
    return ", ".join(words) or "every packet that gets here"


def does(options: Mapping[str, str], packet: Packet) -> str:
    """What a line does with a packet."""
    target = options.get("-j", "")
    if target == "DNAT":
        memory = ", and remembers the client" if "--set" in options else ""
        return f"writes {options.get('--to-destination')} into it as its destination{memory}"
    if target == "MARK":
        unmarks = packet.mark != 0
        return "takes the mark off again" if unmarks else "writes the mark 0x4000 on it"
    if target == "KUBE-MARK-MASQ":
        return "marks it to be masqueraded later"
    if target == "RETURN":
        return "leaves its source as it is"
    for known in (_ENDS, _CHAINS):
        if target in known:
            return known[target]
    for prefix, words in _PREFIXES.items():
        if target.startswith(prefix):
            found = _ENDPOINT.search(options.get("--comment", ""))
            return f"{words}, {found[1]}" if found and prefix == "KUBE-SEP-" else words
    return f"goes to {target}"


def _marks(options: Mapping[str, str]) -> list[str]:
    if "--mark" in options:
        return ["it has the mark 0x4000"]
    return ["it has no mark 0x4000"] if "! --mark" in options else []


def _range(text: str) -> str:
    return text.removesuffix("/32")
