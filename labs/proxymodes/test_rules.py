"""What each mode writes into the kernel, and what follows from it for who answers."""

from __future__ import annotations

import re

from servicelab import claim
from servicelab.lab.fillers import Fillers
from servicelab.observe.printed_rules import printed_rules
from servicelab.verdict import deadlines, eventually, statistics

FEW, MANY = 10, 30
NOBODY = "10.244.255.254"  # of the Pods' range, and no Pod's
CHAIN = re.compile(r"^\[\d+:\d+\] -A (?P<chain>KUBE-\S+) (?P<rest>.*)$", re.MULTILINE)


def nat_rules(lab, node: str) -> dict[str, list[str]]:
    """The rules of kube-proxy's iptables chains on a node, by chain."""
    rules: dict[str, list[str]] = {}
    for match in CHAIN.finditer(printed_rules(lab.cluster, node, "iptables")):
        rules.setdefault(match["chain"], []).append(match["rest"])
    return rules


def target(rule: str) -> str:
    """Where a rule jumps to."""
    return rule.rpartition("-j ")[2].split()[0]


@claim("PXY-02")
def test_chains_lead_from_the_services_to_an_endpoint(web):
    """KUBE-SERVICES jumps to KUBE-SVC-…, that to one KUBE-SEP-… per endpoint, which DNATs to it."""
    named = f"{web.lab.namespace}/{web.service.name}"
    for node in web.lab.cluster.nodes:
        rules = nat_rules(web.lab, node.name)
        mine = [rule for rule in rules["KUBE-SERVICES"] if web.service.cluster_ip in rule]

        assert mine, f"KUBE-SERVICES on {node.name} has no rule for {web.service.cluster_ip}"
        assert all(named in rule for rule in mine), f"its comment names {named}: {mine}"
        (service_chain,) = {target(rule) for rule in mine}
        assert service_chain.startswith("KUBE-SVC-")
        endpoint_chains = [
            target(rule) for rule in rules[service_chain] if "KUBE-SEP-" in target(rule)
        ]
        reached = {
            rule.rpartition("--to-destination ")[2].split()[0]
            for chain in endpoint_chains
            for rule in rules[chain]
            if target(rule) == "DNAT"
        }
        wanted = {f"{pod.ip}:80" for pod in web.pods}
        assert reached == wanted, f"{node.name} leads to {sorted(reached)}"
        assert len(endpoint_chains) == len(web.pods), "one chain for each endpoint"


@claim("PXY-03")
def test_every_node_has_the_same_rules(web):
    """What one node does with packets to the Service, each of them does."""
    by_node = web.lab.rules("web")

    assert all(by_node.values()), f"a node has no rule: {by_node}"
    first, *others = by_node.items()
    for node, rules in others:
        assert rules == first[1], f"{node} and {first[0]} differ: {rules} and {first[1]}"


@claim("PXY-04")
def test_iptables_picks_at_random(web, verdict):
    """The rules give the endpoints 1/3, 1/2 and the rest, and connections go where they say."""
    node = web.lab.cluster.nodes[-1].name
    (chain,) = {
        target(rule)
        for rule in nat_rules(web.lab, node)["KUBE-SERVICES"]
        if web.service.cluster_ip in rule
    }
    chances = [
        float(match[1]) if (match := re.search(r"--probability ([\d.]+)", rule)) else 1.0
        for rule in nat_rules(web.lab, node)[chain]
        if target(rule).startswith("KUBE-SEP-") and "--rcheck" not in rule
    ]
    assert [round(chance, 6) for chance in chances] == [0.333333, 0.5, 1.0], chances
    said = assert_random(web)
    verdict.holds(f"probabilities {', '.join(f'{each:.3f}' for each in chances)}; {said}")


@claim("PXY-06")
def test_nftables_picks_by_a_random_number(web, verdict):
    """One expression, `numgen random mod 3`, chooses for each new connection."""
    node = web.lab.cluster.nodes[-1].name
    table = printed_rules(web.lab.cluster, node, "nftables")
    named = f"{web.lab.namespace}/web"
    chain = next(
        block
        for block in re.split(r"^\tchain ", table, flags=re.MULTILINE)
        if block.startswith("service-") and named in block.split(" {", 1)[0]
    )

    assert "numgen random mod 3 " in chain, chain
    verdict.holds(f"numgen random mod 3; {assert_random(web)}")


def assert_random(web) -> str:
    """New connections go to each of three Pods at random; says by what that was judged."""
    trace = web.client.web(web.service.url, times=statistics.requests_to_look_random(3)).pods
    judged = statistics.looks_random(trace, 3)
    assert judged, judged.why
    return judged.why


@claim("PXY-12")
def test_how_the_number_of_rules_grows(lab, verdict):
    """Services are added; in iptables mode each brings rules, in ipvs mode iptables gets none."""
    node = lab.cluster.nodes[0].name
    counts = {0: count_rules(lab, node)}
    fillers = Fillers(lab, NOBODY)
    for size in (FEW, MANY):
        fillers.grow_to(size)
        last = lab.service(list(fillers.addresses)[-1])
        eventually(
            lambda last=last: lab.rules(last.name),
            lambda seen: all(seen.values()),
            deadline=deadlines.current().rules_programmed,
            expecting=f"each node to have rules for {last}",
        )
        counts[size] = count_rules(lab, node)

    a_service = (counts[FEW] - counts[0]) / FEW, (counts[MANY] - counts[FEW]) / (MANY - FEW)
    told = ", ".join(f"{count} with {size}" for size, count in counts.items())
    if lab.cluster.mode == "iptables":
        assert a_service[0] > 0, f"no rules were added: {told}"
        assert a_service[0] == a_service[1], f"not the same number for each Service: {told}"
    else:
        assert a_service == (0, 0), f"iptables rules were added: {told}"
    verdict.holds(f"iptables rules: {told} further Services")


def count_rules(lab, node: str) -> int:
    """Rules in the iptables of a node that are for Services of the lab."""
    saved = lab.cluster.docker_exec(node, "iptables-save")
    return sum(f"{lab.namespace}/filler-" in line for line in saved.splitlines())


@claim("PXY-16")
def test_no_interface_has_the_services_address(web, nodes):
    """The service network is virtual: the address answers, and no node has it on any link."""
    address = web.service.cluster_ip
    assert web.client.web(web.service.url, times=1).ok, "the address answers"

    for node in nodes:
        links = [name for name, held in node.interfaces().links.items() if address in held]
        assert not links, f"{node.name} has {address} on {links[0]}"


@claim("PXY-17")
def test_a_deleted_services_rules_go(own_web):
    """When the Service is deleted, every node forgets it."""
    lab = own_web.lab
    before = lab.rules("web")
    assert all(before.values()), "rules on every node"

    lab.delete_service("web")

    eventually(
        lambda: lab.rules("web"),
        lambda by_node: not any(by_node.values()),
        deadline=deadlines.current().rules_programmed,
        expecting="no node to have a rule for the deleted Service",
        tell=lambda by_node: f"rules still on {[node for node, rules in by_node.items() if rules]}",
    )
