"""What both modes' rules are read as: one model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from servicelab.observe import ServiceRule, UnreadableRules, rules_of
from servicelab.observe.iptables import parse_iptables
from servicelab.observe.nftables import parse_nftables

SAMPLES = Path(__file__).parent / "rules"
Parse = Callable[[str], list[ServiceRule]]


def iptables() -> list[ServiceRule]:
    """The rules of the sample in iptables mode."""
    return parse_iptables((SAMPLES / "iptables.txt").read_text())


def nftables() -> list[ServiceRule]:
    """The rules of the sample in nftables mode."""
    return parse_nftables((SAMPLES / "nftables.json").read_text())


both = pytest.mark.parametrize("read", [iptables, nftables])
Read = Callable[[], list[ServiceRule]]


def only(rules: list[ServiceRule], **wanted: object) -> ServiceRule:
    """The one rule with these attributes."""
    (found,) = [
        rule for rule in rules if all(getattr(rule, key) == value for key, value in wanted.items())
    ]
    return found


@both
def test_a_cluster_ip_leads_to_its_only_backend(read: Read) -> None:
    """Address, port, protocol and backend are read; clients that are no Pods are masqueraded."""
    (rule,) = rules_of(read(), "ns1", "svc1")

    assert (rule.vip, rule.port, rule.protocol, rule.port_name) == (
        "172.30.0.41", 80, "TCP", "p80",
    )  # fmt: skip
    assert rule.kind == "cluster"
    assert rule.addresses == {"10.180.0.1:80"}
    assert rule.chooser == "only"
    assert rule.masquerade == "outside"
    assert rule.affinity is None


@pytest.mark.parametrize(("read", "backends"), [(iptables, 3), (nftables, 2)])
def test_several_backends_are_equally_likely(read: Read, backends: int) -> None:
    """1/3, then 1/2 of the rest, then all that is left, are a third each; mod 2 are halves."""
    rule = only(rules_of(read(), "ns4", "svc4"), kind="cluster")

    assert rule.chooser == "random"
    assert [each.probability for each in rule.backends] == pytest.approx(
        [1 / backends] * backends, abs=1e-6
    )


@both
def test_an_external_ip_has_the_same_backends_and_hides_the_client(read: Read) -> None:
    """From outside the cluster the same endpoints are reached, masqueraded."""
    rules = rules_of(read(), "ns4", "svc4")
    external = only(rules, kind="external")

    assert external.vip == "192.168.99.33"
    assert external.addresses == only(rules, kind="cluster").addresses
    assert external.masquerade == "always"


@pytest.mark.parametrize(("read", "kept_in"), [(iptables, "recent"), (nftables, "set")])
def test_session_affinity_is_read_with_its_time_and_place(read: Read, kept_in: str) -> None:
    """The seconds and where clients are remembered; the backend counts once."""
    rule = only(rules_of(read(), "ns5", "svc5"), kind="cluster")

    assert rule.affinity is not None
    assert (rule.affinity.seconds, rule.affinity.kept_in) == (10800, kept_in)
    assert rule.addresses == {"10.180.0.3:80"}


@both
def test_a_local_policy_without_local_endpoints_has_no_backend(read: Read) -> None:
    """A node port with traffic policy Local leads to nothing where no endpoint is on the node."""
    rule = only(rules_of(read(), "ns5", "svc5"), kind="node")

    assert (rule.vip, rule.port) == ("", 3002)
    assert rule.backends == ()
    assert rule.masquerade == "no"


@both
def test_a_service_without_endpoints_is_refused(read: Read) -> None:
    """No endpoints at all: connections are refused, not dropped."""
    (rule,) = rules_of(read(), "ns6", "svc6")

    assert (rule.vip, rule.kind, rule.rejects) == ("172.30.0.46", "cluster", "refuse")
    assert str(rule) == "172.30.0.46:80/TCP refused"


@both
def test_what_has_no_local_endpoints_is_dropped(read: Read) -> None:
    """Traffic policy Local: dropped, on an address and on a node port; a port may be unnamed."""
    rules = rules_of(read(), "ns2", "svc2")
    external, node = only(rules, kind="external"), only(rules, kind="node")

    assert (external.vip, external.protocol, external.port_name) == ("1.2.3.4", "UDP", "")
    assert (node.port, node.rejects, external.rejects) == (3001, "drop", "drop")


def test_other_programs_iptables_rules_are_left_alone() -> None:
    """Rules and tables that kube-proxy did not write are no Services."""
    text = "*mangle\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*nat\n-A DOCKER -i br0 -j RETURN\nCOMMIT\n"

    assert parse_iptables(text) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("COMMIT\n*nat", "*nat", r"is no rule: \*nat"),
        ("--dport 80 -j KUBE-SVC-XPG", "--dport x -j KUBE-SVC-XPG", "no number for --dport"),
        ('"ns1/svc1:p80 cluster IP"', '"a portal"', "names no Service"),
        ("--to-destination 10.180.0.1:80", "--to-destination 10.180.0.1", "without address"),
        ("-A KUBE-SEP-SXIVWICOYRO3J4NJ -p tcp", "-A KUBE-SEP-OTHER -p tcp", "has no DNAT"),
        ("--probability 0.5", "--probability half", "no number"),
        ("ns4/svc4:p80 -> 10.180.0.6:80\" -j", "x\" -m statistic --probability 0.1 -j", "alone"),
        ("COMMIT\n", "Segmentation fault\n", "is no rule: Segmentation fault"),
        ("-A KUBE-MARK-MASQ -j MARK", '-A KUBE-MARK-MASQ -j "MARK', "No closing quotation"),
    ],
)  # fmt: skip
def test_a_line_that_kube_proxy_does_not_write_is_named(old: str, new: str, message: str) -> None:
    """Text that can't be understood is refused with the line, never half understood."""
    text = (SAMPLES / "iptables.txt").read_text()
    assert old in text

    with pytest.raises(UnreadableRules, match=message):
        parse_iptables(text.replace(old, new))


def test_iptables_that_were_cut_off_are_refused() -> None:
    """A listing without its last COMMIT may lack rules."""
    text = (SAMPLES / "iptables.txt").read_text()

    with pytest.raises(UnreadableRules, match="ended before COMMIT"):
        parse_iptables(text.removesuffix("COMMIT\n"))


def test_iptables_without_the_nat_table_is_refused() -> None:
    """Nothing printed is not "no Services"."""
    with pytest.raises(UnreadableRules, match="no table nat"):
        parse_iptables("")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{"nftables"', '{"nftables', "line 1 of nft's JSON"),
        ('"nftables"', '"other"', "no list nftables"),
        ('"name": "service-ips"', '"name": "something"', "no map service-ips"),
        ('"mode": "random", "mod": 2', '"mode": "inc", "mod": 2', "chooses one of 2"),
        ('"mode": "random", "mod": 2', '"mode": "random", "mod": 3', "chooses one of 2"),
        ('"comment": "ns6/svc6:p80"', '"comment": "?"', "names no Service"),
        ('"target": "service-ULMVA6XW-ns1', '"target": "other-ns1', "not named as kube-proxy"),
        ('"dnat": {"addr": "10.180.0.1", "port": 80}', '"dnat": {"addr": 5}', "does not write"),
        ('"dnat": {"addr": "10.180.0.3", "port": 80}', '"drop": null', "which has no dnat"),
    ],
)
def test_nft_json_that_kube_proxy_does_not_write_is_named(old: str, new: str, message: str) -> None:
    """JSON that can't be understood is refused with its place, never half understood."""
    text = (SAMPLES / "nftables.json").read_text()
    assert old in text

    with pytest.raises(UnreadableRules, match=message):
        parse_nftables(text.replace(old, new))
