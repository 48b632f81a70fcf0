"""The rules of IPVS mode: the kernel's table, with the names of the API."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from servicelab.observe.ipvs import missing_in_sets, parse_ipvs, read_ipvs, tick_rate
from servicelab.observe.ipvs_table import IpSet, parse_sets, parse_table
from servicelab.observe.model import Backend, Kind, ServiceRule, rules_for
from servicelab.observe.service_addresses import ServiceAddresses, addresses_of
from servicelab.observe.unreadable import RulesUnreadable
from servicelab.verdict import deadlines

HEAD = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
"""
TABLE = (
    HEAD
    + """\
TCP  0A600001:01BB rr  
  -> AC1E0003:192B      Masq    1      2          0         
UDP  0A60000A:0035 rr  
TCP  0A600010:0050 rr  persistent 1000 FFFFFFFF
  -> 0AF40102:0050      Masq    1      0          0         
  -> 0AF40103:0050      Masq    1      0          3         
  -> 0AF40202:0050      Masq    0      1          0         
TCP  AC1E0003:7530 rr  
  -> 0AF40102:0050      Masq    1      0          0         
TCP  0AF40101:7530 rr  
  -> 0AF40102:0050      Masq    1      0          0         
"""  # noqa: W291 - the kernel's own blanks
)
HELD = ("10.96.0.1", "10.96.0.10", "10.96.0.16")


def dummy(*addresses: str) -> str:
    """The output of `ip -json address show dev kube-ipvs0`."""
    given = [{"family": "inet", "local": ip, "prefixlen": 32} for ip in addresses or HELD]
    return json.dumps([{"ifname": "kube-ipvs0", "addr_info": given}])


def service(name: str, ip: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A Service as the API's JSON has it."""
    return {
        "metadata": {"namespace": "lab", "name": name},
        "spec": {"clusterIPs": [ip], "ports": list(ports), **spec},
    }


@pytest.fixture
def known() -> ServiceAddresses:
    """The Services of the table."""
    sticky = {"clientIP": {"timeoutSeconds": 10}}
    return addresses_of(
        [
            service("api", "10.96.0.1", {"port": 443, "name": "https"}),
            service("dns", "10.96.0.10", {"port": 53, "protocol": "UDP"}),
            service(
                "web", "10.96.0.16", {"port": 80, "nodePort": 30000},
                sessionAffinity="ClientIP", sessionAffinityConfig=sticky,
            ),
            service("headless", "None", {"port": 80}),
        ]
    )  # fmt: skip


def only(known: ServiceAddresses, name: str, table: str = TABLE) -> tuple[ServiceRule, ...]:
    return rules_for(parse_ipvs(table, dummy(), known), "lab", name)


def test_a_cluster_ip_has_its_backends_and_its_name_from_the_api(known: ServiceAddresses) -> None:
    """The kernel knows addresses only."""
    (rule,) = only(known, "api")

    assert rule == ServiceRule(
        "lab", "api", "https", "TCP", "10.96.0.1", 443, "cluster",
        (Backend("172.30.0.3", 6443, 1.0),),
    )  # fmt: skip


def test_a_service_without_endpoints_is_refused(known: ServiceAddresses) -> None:
    """It stays in the table, with no real server."""
    (rule,) = only(known, "dns")

    assert rule.rejects
    assert rule.protocol == "UDP"


def test_affinity_is_given_in_seconds_and_a_draining_backend_left_out(
    known: ServiceAddresses,
) -> None:
    """1000 ticks are the 10 s that the Service asks for; weight 0 takes nobody new."""
    cluster, _ = only(known, "web")

    assert (cluster.affinity_seconds, cluster.affinity_by) == (10, "persistent")
    assert cluster.chooser == "rr"
    assert [(each.ip, each.probability) for each in cluster.backends] == [
        ("10.244.1.2", 0.5),
        ("10.244.1.3", 0.5),
    ]


def test_a_node_port_is_one_rule_for_all_addresses_of_the_node(known: ServiceAddresses) -> None:
    """The table has it once for each."""
    _, node = only(known, "web")

    assert (node.kind, node.ip, node.port) == ("node", "", 30000)
    assert node.chooser == ""


def test_addresses_of_a_node_that_disagree_are_an_error(known: ServiceAddresses) -> None:
    """A model with one of them would be wrong."""
    at = TABLE.rindex("0AF40102")
    other = TABLE[:at] + "0AF40103" + TABLE[at + 8 :]

    with pytest.raises(
        RulesUnreadable, match=r"node port 30000/TCP: its backends at 10\.244\.1\.1"
    ):
        parse_ipvs(other, dummy(), known)


def test_an_address_that_no_service_has_is_shown_without_a_name(known: ServiceAddresses) -> None:
    """What a deleted Service left behind is to be seen."""
    left = TABLE.replace("0A600001", "0A600002")

    (rule,) = rules_for(parse_ipvs(left, dummy("10.96.0.2", *HELD), known), "", "")

    assert (rule.ip, rule.port, rule.kind) == ("10.96.0.2", 443, "cluster")


def test_an_address_that_is_not_on_the_dummy_is_an_error(known: ServiceAddresses) -> None:
    """Its packets would pass the node by."""
    with pytest.raises(RulesUnreadable, match=r"10\.96\.0\.10 port 53/UDP: kube-ipvs0 lacks"):
        parse_ipvs(TABLE, dummy("10.96.0.1", "10.96.0.16"), known)


def test_weights_are_shares(known: ServiceAddresses) -> None:
    """For wrr: 3 of 4, and 1 of 4."""
    weighted = TABLE.replace("0A600010:0050 rr", "0A600010:0050 wrr").replace(
        "0AF40102:0050      Masq    1", "0AF40102:0050      Masq    3", 1
    )

    cluster, _ = only(known, "web", weighted)

    assert [each.probability for each in cluster.backends] == [0.75, 0.25]
    assert cluster.chooser == "wrr"


@pytest.mark.parametrize("rate", [100, 250, 300, 1000])
def test_the_kernels_tick_is_told_by_what_the_services_ask_for(
    known: ServiceAddresses, rate: int
) -> None:
    """The kernel shows ticks, and hides their length."""
    table = TABLE.replace("persistent 1000 ", f"persistent {10 * rate} ")

    assert only(known, "web", table)[0].affinity_seconds == 10


@pytest.mark.parametrize("rate", [100, 250, 300, 1000])
def test_what_stood_before_a_patch_tells_the_tick_too(known: ServiceAddresses, rate: int) -> None:
    """The Service asks for 10 s by now, and kube-proxy has not heard of it."""
    table = TABLE.replace("persistent 1000 ", f"persistent {10800 * rate} ")

    assert only(known, "web", table)[0].affinity_seconds == 10800


class Writing:
    """A cluster of one node, whose kube-proxy finishes a Service while its rules are read."""

    client = None
    node_vantages = property(lambda self: [self])
    name = "node"

    def __init__(self, *held: tuple[str, ...]) -> None:
        self.held = list(held)

    def read_file(self, path: str) -> str:
        return TABLE

    def interfaces(self) -> SimpleNamespace:
        held = self.held.pop(0) if len(self.held) > 1 else self.held[0]
        return SimpleNamespace(links={"kube-ipvs0": held})


def test_what_does_not_fit_together_yet_is_read_again(
    known: ServiceAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without its address on the link is one that kube-proxy is writing."""
    monkeypatch.setattr("servicelab.observe.ipvs.service_addresses", lambda client: known)
    cluster: Any = Writing(("10.96.0.1",), ("10.96.0.1", "10.96.0.16"), HELD)

    assert read_ipvs(cluster, "node") == parse_ipvs(TABLE, dummy(*HELD), known)


def test_what_never_fits_together_is_an_error(
    known: ServiceAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says what does not."""
    monkeypatch.setattr("servicelab.observe.ipvs.service_addresses", lambda client: known)
    cluster: Any = Writing(("10.96.0.1",))

    with deadlines.multiplied(0.01), pytest.raises(RulesUnreadable, match="kube-ipvs0 lacks"):
        read_ipvs(cluster, "node")


def test_a_tick_that_fits_nothing_is_an_error(known: ServiceAddresses) -> None:
    """No Service asks for that."""
    with pytest.raises(RulesUnreadable, match=r"its unit can't be told: 1001"):
        only(known, "web", TABLE.replace("persistent 1000 ", "persistent 1001 "))


def test_without_persistence_any_tick_does() -> None:
    """Nothing is divided by it."""
    assert tick_rate([], []) == 100


def test_external_addresses_and_load_balancers_are_told_apart() -> None:
    """By the API; a balancer that keeps traffic to itself has no rules."""
    balanced = service("vip", "10.96.0.9", {"port": 80}, externalIPs=["192.0.2.1"])
    ingress = [{"ip": "192.0.2.2", "ipMode": "VIP"}, {"ip": "192.0.2.3", "ipMode": "Proxy"}]
    known = addresses_of([{**balanced, "status": {"loadBalancer": {"ingress": ingress}}}])

    kinds = {ip: owner.kind for (_, ip, _), owner in known.addresses.items()}

    assert kinds == {
        "10.96.0.9": "cluster",
        "192.0.2.1": "external",
        "192.0.2.2": "loadbalancer",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: no heading"),
        (HEAD.replace("Prot", "Port"), "line 2: no heading"),
        (TABLE[:-9], "line 14: it is cut"),
        (HEAD + "  -> 0AF40102:0050      Masq    1      0          0         \n", "line 4: a real"),
        (TABLE.replace("Masq", "Route"), "line 5: not forwarded"),
        (TABLE.replace("UDP  ", "FWM  "), "line 6: neither"),
        (TABLE.replace("0A60000A:0035", "0A60000A:0000"), "line 6: not a port"),
        (TABLE.replace("AC1E0003:192B", "AC1E003:192B"), "line 5: neither"),
    ],
)
def test_a_garbled_table_is_named_by_its_line(text: str, says: str) -> None:
    """Never a wrong model."""
    with pytest.raises(RulesUnreadable, match=says):
        parse_table(text)


@pytest.mark.parametrize("text", ["", "[]", "[{}]", '[{"ifname": "x"}]', "{"])
def test_garbled_addresses_are_an_error(text: str, known: ServiceAddresses) -> None:
    """As is a node without kube-ipvs0."""
    with pytest.raises(RulesUnreadable, match="the addresses of kube-ipvs0"):
        parse_ipvs(TABLE, text, known)


def test_sets_are_read_with_their_entries() -> None:
    """Kind and entries by name; options are left out."""
    text = (
        "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536\n"
        "add KUBE-CLUSTER-IP 10.96.0.1,tcp:443\n"
        "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n"
    )

    assert parse_sets(text) == (
        IpSet("KUBE-CLUSTER-IP", "hash:ip,port", ("10.96.0.1,tcp:443",)),
        IpSet("KUBE-NODE-PORT-TCP", "bitmap:port", ()),
    )


@pytest.mark.parametrize(
    "text", ["add KUBE-CLUSTER-IP 10.96.0.1,tcp:443\n", "create A\n", "drop A x\n", "\n"]
)
def test_a_garbled_set_is_named_by_its_line(text: str) -> None:
    """An entry of a set that was not created is one, too."""
    with pytest.raises(RulesUnreadable, match="ipset save line 1: neither create nor add"):
        parse_sets(text)


SAVED = (
    "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536\n"
    "add KUBE-CLUSTER-IP 10.96.0.1,tcp:443\n"
    "add KUBE-CLUSTER-IP 10.96.0.16,tcp:80\n"
    "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n"
    "add KUBE-NODE-PORT-TCP 30000\n"
)


NAT = (
    "*nat\n"
    "-A KUBE-SERVICES ! -s 10.244.0.0/16 -m set --match-set KUBE-CLUSTER-IP dst,dst -j M\n"
    "-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j M\n"
    "COMMIT\n"
)  # fmt: skip


@pytest.mark.parametrize(
    ("left_out", "lacking"),
    [
        ("", ()),
        ("add KUBE-CLUSTER-IP 10.96.0.16,tcp:80\n", ("KUBE-CLUSTER-IP 10.96.0.16,tcp:80",)),
        ("add KUBE-NODE-PORT-TCP 30000\n", ("KUBE-NODE-PORT-TCP 30000",)),
        (" --match-set KUBE-NODE-PORT-TCP dst", ("a rule that asks KUBE-NODE-PORT-TCP",)),
    ],
)
def test_what_the_sets_lack_is_told(
    known: ServiceAddresses, left_out: str, lacking: tuple[str, ...]
) -> None:
    """Of rules with backends: what rejects needs no set. A set that no rule asks is of no use."""
    rules = parse_ipvs(TABLE, dummy(), known)

    found = missing_in_sets(rules, SAVED.replace(left_out, ""), NAT.replace(left_out, ""))
    assert found == lacking


def test_a_load_balancers_address_has_a_set_of_its_own() -> None:
    """An external address may be in one of two, and is not looked for."""
    rule = ServiceRule(
        "lab", "web", "", "TCP", "172.30.0.230", 80, "loadbalancer",
        (Backend("10.244.1.2", 80, 1.0),),
    )  # fmt: skip

    assert missing_in_sets([rule], SAVED, NAT) == ("KUBE-LOAD-BALANCER 172.30.0.230,tcp:80",)
    assert missing_in_sets([replace(rule, kind="external")], SAVED, NAT) == ()


@pytest.mark.parametrize(
    ("kind", "ip", "entry", "name", "further"),
    [
        ("node", "", "30001", "KUBE-NODE-PORT-UDP", "KUBE-NODE-PORT-LOCAL-UDP"),
        (
            "loadbalancer",
            "172.30.0.230",
            "172.30.0.230,udp:30001",
            "KUBE-LOAD-BALANCER",
            "KUBE-LOAD-BALANCER-LOCAL",
        ),
    ],
)
def test_what_keeps_its_clients_address_has_a_further_set(
    kind: Kind, ip: str, entry: str, name: str, further: str
) -> None:
    """Under externalTrafficPolicy: Local, for what faces outwards; the first set alone is no
    proof that the policy has got to the node."""
    backends = (Backend("10.244.1.2", 80, 1.0),)
    rules = [
        ServiceRule("lab", "web", "", "UDP", ip, 30001, kind, backends),
        ServiceRule("lab", "web", "", "TCP", "10.96.0.16", 80, "cluster", backends),
    ]
    saved = f"{SAVED}create {name} some:kind\nadd {name} {entry}\n"
    nat = f"{NAT} --match-set {name} dst \n"

    assert missing_in_sets(rules, saved, nat) == ()
    assert missing_in_sets(rules, saved, nat, local=True) == (f"{further} {entry}",)
    saved += f"create {further} some:kind\nadd {further} {entry}\n"
    assert missing_in_sets(rules, saved, nat, local=True) == (f"a rule that asks {further}",)
    nat += f" --match-set {further} dst \n"
    assert missing_in_sets(rules, saved, nat, local=True) == ()
