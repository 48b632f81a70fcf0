"""IPVS mode: rules, sets and the link bring a packet to ip_vs, which sends it on.

Recorded on a node (Kubernetes v1.37.0, in a guest): the nat table with its counters, the Service
10.96.9.104 in the sets and the virtual servers. Not recorded, but in the forms that kube-proxy's
source (pkg/proxy/ipvs/proxier.go) and the kernel's (ip_vs_conn.c) write: the node port, the Service
without endpoints, the filter table and the connections.
"""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from servicelab.observe.ipvs_table import parse_connections
from servicelab.observe.unreadable import RulesUnreadable
from servicelab.trace.hop import Way
from servicelab.trace.ipvs_walk import connection_of
from servicelab.trace.packet import Endpoint, Enters, Packet
from servicelab.trace.proof import counters_check, ipvs_check
from servicelab.trace.readings import Reading
from servicelab.trace.way import follow

NAT = """\
*nat
:PREROUTING ACCEPT [18:1080]
:INPUT ACCEPT [2:120]
:OUTPUT ACCEPT [100:6176]
:POSTROUTING ACCEPT [189:13046]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
[17:1020] -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
[0:0] -A PREROUTING -d 172.30.0.1/32 -j DOCKER_OUTPUT
[164:11478] -A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
[110:6720] -A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
[0:0] -A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ
[1:92] -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
[0:0] -A KUBE-NODE-PORT -p tcp -m comment --comment "Kubernetes nodeport TCP port for masquerade \
purpose" -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
[0:0] -A KUBE-POSTROUTING -m comment --comment "Kubernetes endpoints dst ip:port, source ip for \
solving hairpin purpose" -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
[5:300] -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
[1:92] -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
[1:92] -A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" \
-j MASQUERADE --random-fully
[0:0] -A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
[1:92] -A KUBE-SERVICES ! -s 10.244.0.0/16 -m comment --comment "Kubernetes service cluster ip + \
port for masquerade purpose" -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
[1:92] -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
[1:92] -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
COMMIT
"""
FILTER = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-IPVS-FILTER - [0:0]
:KUBE-IPVS-OUT-FILTER - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
[9:1] -A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
[9:1] -A INPUT -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
[9:1] -A INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
[0:0] -A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
[9:1] -A OUTPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER
[0:0] -A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark \
0x4000/0x4000 -j ACCEPT
[0:0] -A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
[0:0] -A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst \
-j REJECT --reject-with icmp-port-unreachable
[0:0] -A KUBE-NODE-PORT -m comment --comment "Kubernetes health check node port" -m set \
--match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j ACCEPT
COMMIT
"""
SETS = """\
create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12
add KUBE-CLUSTER-IP 10.96.0.1,tcp:443
add KUBE-CLUSTER-IP 10.96.9.104,tcp:8080
add KUBE-CLUSTER-IP 10.96.9.105,tcp:80
create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536 bucketsize 12
add KUBE-LOOP-BACK 10.244.2.7,tcp:80,10.244.2.7
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
add KUBE-NODE-PORT-TCP 30080
create KUBE-IPVS-IPS hash:ip family inet hashsize 1024 maxelem 65536 bucketsize 12
add KUBE-IPVS-IPS 10.96.9.104
create KUBE-HEALTH-CHECK-NODE-PORT bitmap:port range 0-65535
"""
NODE = "172.30.0.6"
VIP, CHOSEN = Endpoint("10.96.9.104", 8080), Endpoint("10.244.2.7", 80)
EMPTY, DOOR = Endpoint("10.96.9.105", 80), Endpoint(NODE, 30080)
REALS = ("10.244.1.9", "10.244.2.7", "10.244.2.8")
CONNECTIONS = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"


def hexed(end: Endpoint) -> str:
    """As the kernel writes an address and a port."""
    return f"{int(IPv4Address(end.ip)):08X}:{end.port:04X}"


def virtual(counts: dict[str, int]) -> str:
    """/proc/net/ip_vs, with so many closing connections of each real server."""
    lines = [
        "IP Virtual Server version 1.2.1 (size=4096)",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
    ]
    for server in (VIP, DOOR):
        lines.append(f"TCP  {hexed(server)} rr  ")
        lines += [
            f"  -> {hexed(Endpoint(ip, 80))}      Masq    1      0          {counts.get(ip, 0)}"
            for ip in REALS
        ]
    lines.append(f"TCP  {hexed(EMPTY)} rr  ")
    return "\n".join(lines) + "\n"


def remembered(client: Endpoint, asked: Endpoint, real: Endpoint) -> str:
    """A line of /proc/net/ip_vs_conn."""
    ends = " ".join(hexed(end).replace(":", " ") for end in (client, asked, real))
    return f"TCP {ends} TIME_WAIT       119\n"


def reading(counts: dict[str, int], connections: str = "", rules: str = FILTER + NAT) -> Reading:
    """What a node shows."""
    held = [{"family": "inet", "local": ip} for ip in (VIP.ip, EMPTY.ip)]
    texts = {
        "iptables": rules,
        "ipsets": SETS,
        "ipvs": virtual(counts),
        "ipvs_connections": CONNECTIONS + connections,
        "dummy": json.dumps([{"ifname": "kube-ipvs0", "addr_info": held}]),
    }
    return Reading(texts, frozenset({NODE, VIP.ip, EMPTY.ip}))


def counted(text: str, *marks: str) -> str:
    """The same rules, each line that has one of some marks with another packet."""
    lines = []
    for line in text.splitlines():
        if any(mark in line for mark in marks) and line.startswith("["):
            packets, colon, rest = line[1:].partition(":")
            line = f"[{int(packets) + 1}{colon}{rest}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def way(
    source: str,
    asked: Endpoint = VIP,
    chosen: Endpoint | None = CHOSEN,
    enters: Enters = "prerouting",
    after: Reading | None = None,
) -> Way:
    """Follow a packet."""
    before = reading({})
    packet = Packet("tcp", source, *asked, enters, before.local)
    client = Endpoint(source, 4711)
    last = after or reading({CHOSEN.ip: 1}, remembered(client, asked, CHOSEN))
    return follow("ipvs", before, last, packet, chosen, client)


def told(found: Way) -> list[tuple[str, str, str]]:
    """Hook, chain or table, and verdict of each hop."""
    return [(hop.hook, hop.chain or hop.table, hop.verdict) for hop in found.hops]


def test_a_pods_packet_goes_by_the_set_the_link_and_the_virtual_server() -> None:
    """It is not masqueraded: the backend sees the Pod."""
    found = way("10.244.2.9")

    assert told(found) == [
        ("prerouting", "PREROUTING", "jump KUBE-SERVICES"),
        ("prerouting", "KUBE-SERVICES", "accept"),
        ("routing", "kube-ipvs0", "local"),
        ("ip_vs", "ip_vs", "dnat 10.244.2.7:80"),
        ("postrouting", "POSTROUTING", "jump KUBE-POSTROUTING"),
        ("postrouting", "KUBE-POSTROUTING", "return"),
    ]
    assert (found.end, found.backend, found.masqueraded) == ("backend", CHOSEN, False)
    assert "in the ipset KUBE-CLUSTER-IP (a Service's address and port)" in found.hops[1].matched
    server = found.hops[3]
    assert "with 3 real servers; it takes them in turn" in server.matched
    assert (server.before, server.after) == (0, 1)


def test_what_comes_from_outside_the_cluster_is_masqueraded() -> None:
    """The set and the client's address decide that."""
    found = way("172.30.0.99")

    assert ("prerouting", "KUBE-MARK-MASQ", "mark 0x4000/0x4000") in told(found)
    assert found.masqueraded
    assert told(found)[-1] == ("postrouting", "KUBE-POSTROUTING", "masquerade")


def test_the_nodes_own_packet_has_the_services_address_as_its_source() -> None:
    """kube-ipvs0 holds it, so the kernel takes it; it must be masqueraded."""
    found = way(VIP.ip, enters="output")

    assert told(found)[0] == ("output", "OUTPUT", "jump KUBE-SERVICES")
    assert found.masqueraded
    assert found.backend == CHOSEN


def test_a_node_port_is_in_a_bitmap() -> None:
    """The address is the node's own, not the link's."""
    found = way("172.30.0.99", asked=DOOR)

    assert ("prerouting", "KUBE-NODE-PORT", "jump KUBE-MARK-MASQ") in told(found)
    assert not [hop for hop in found.hops if hop.table == "kube-ipvs0"]
    assert found.backend == CHOSEN


def test_a_pod_that_is_sent_back_to_itself_is_masqueraded() -> None:
    """KUBE-LOOP-BACK has it: it would answer itself directly otherwise."""
    found = way("10.244.2.7")

    assert found.masqueraded
    assert "KUBE-LOOP-BACK (a Pod that is sent back to itself)" in found.hops[-1].matched


def test_a_virtual_server_without_a_real_one_refuses() -> None:
    """That is a Service without endpoints."""
    found = way("10.244.2.9", asked=EMPTY, chosen=None)

    assert found.end == "rejected"
    assert found.hops[-1].verdict == "reject"
    assert "has no real server" in found.hops[-1].does


def test_a_port_that_no_service_has_is_refused_by_the_filter() -> None:
    """The link holds the address, and must not open the node's own ports."""
    found = way("10.244.2.9", asked=Endpoint(VIP.ip, 22), chosen=None)

    assert found.end == "rejected"
    assert found.hops[-1].chain == "KUBE-IPVS-FILTER"


def test_without_conntrack_ip_vs_own_memory_or_its_counters_tell() -> None:
    """One of the three is enough."""
    by_memory = way("10.244.2.9", chosen=None)
    by_count = way("10.244.2.9", chosen=None, after=reading({"10.244.2.8": 1}))
    by_nothing = way("10.244.2.9", chosen=None, after=reading({}))

    assert by_memory.backend == CHOSEN
    assert by_count.backend == Endpoint("10.244.2.8", 80)
    assert by_nothing.backend is None
    assert by_nothing.end == "untranslated"


def test_the_counters_of_its_iptables_are_a_proof() -> None:
    """The rules that matched count; one that stood still contradicts."""
    marks = ("-A PREROUTING -m", "-j ACCEPT", "POSTROUTING -m comment", "! --mark")
    moved = counted(NAT, *marks)
    after = reading({CHOSEN.ip: 1}, rules=FILTER + moved)
    still = reading({CHOSEN.ip: 1}, rules=FILTER + NAT)

    assert counters_check(way("10.244.2.9", after=after), "ipvs").holds
    assert counters_check(way("10.244.2.9", after=still), "ipvs").holds is False


def test_counters_that_began_again_prove_nothing() -> None:
    """kube-proxy wrote its rules anew meanwhile: one that stands at what it was may have moved."""
    first, second, *more = (replace(hop, before=1, after=2) for hop in way("10.244.2.9").hops)
    still = Way((first, replace(second, before=1, after=1), *more), "backend")
    anew = Way((replace(first, before=5, after=1), *still.hops[1:]), "backend")

    assert counters_check(still, "ipvs").holds is False
    assert not still.was_written_anew
    assert counters_check(anew, "ipvs").holds is None
    assert anew.was_written_anew


def test_ip_vs_own_memory_is_a_proof() -> None:
    """It names the real server; another one contradicts."""
    client = Endpoint("10.244.2.9", 4711)
    found = way(client.ip)

    def said(real: Endpoint) -> bool | None:
        text = CONNECTIONS + remembered(client, VIP, real)
        return ipvs_check(found, connection_of(parse_connections(text), client, VIP)).holds

    assert said(CHOSEN) is True
    assert said(Endpoint("10.244.2.8", 80)) is False
    assert ipvs_check(found, None).holds is None
    assert connection_of(parse_connections(CONNECTIONS), client, VIP) is None


def test_the_kernels_connections_are_read_with_their_states() -> None:
    """A template of persistence has no port, and is none."""
    client = Endpoint("10.244.2.9", 4711)
    line = remembered(client, VIP, CHOSEN)
    template = line.replace("1267", "0000")

    (found,) = parse_connections(CONNECTIONS + template + line)

    assert (found.client, found.virtual, found.real) == (client, VIP, CHOSEN)
    assert found.state == "TIME_WAIT"


@pytest.mark.parametrize("text", ["", CONNECTIONS + "TCP 0AF4", CONNECTIONS + "tcp a b c\n"])
def test_connections_that_are_cut_are_an_error_with_their_line(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(RulesUnreadable, match="ip_vs_conn line"):
        parse_connections(text)


def test_a_set_that_is_missing_is_an_error_with_the_rule() -> None:
    """The rules and the sets belong together."""
    broken = reading({})
    texts = {**broken.texts, "ipsets": SETS.replace("KUBE-CLUSTER-IP", "KUBE-OTHER")}

    with pytest.raises(RulesUnreadable, match=r"iptables-save line .* no ipset KUBE-CLUSTER-IP"):
        follow(
            "ipvs",
            replace(broken, texts=texts),
            broken,
            Packet("tcp", "172.30.0.99", *VIP, "prerouting", broken.local),
            CHOSEN,
        )
