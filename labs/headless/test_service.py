"""A headless Service: no address of its own, no rule on any node, only a name in the DNS."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from servicelab import claim
from servicelab.observe.ipvs import TABLE
from servicelab.observe.ipvs_table import parse_table
from servicelab.observe.printed_rules import printed_rules

COULD_NOT_RESOLVE = 6  # curl's exit code


@claim("HL-01")
def test_it_has_no_cluster_ip(peers):
    """With clusterIP: None there is no virtual IP, and `get svc` shows None."""
    header, row = (
        line.split() for line in peers.lab.kubectl("get", "service", "peers").splitlines()
    )
    seen = dict(zip(header, row, strict=True))
    spec = peers.lab.kubectl_json("get", "service", "peers")["spec"]

    assert seen["CLUSTER-IP"] == "None", f"get svc shows the address {seen['CLUSTER-IP']}"
    assert (seen["TYPE"], seen["EXTERNAL-IP"]) == ("ClusterIP", "<none>")
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


@claim("HL-01")
def test_it_is_headless_from_the_start(peers):
    """A Service that has an address can't give it up: the API server refuses."""
    patch = '{"spec": {"clusterIP": "None"}}'

    with pytest.raises(subprocess.CalledProcessError) as refused:
        peers.lab.kubectl("patch", "service", "ordinary", "-p", patch)

    assert "may not change once set" in refused.value.stderr


@claim("HL-03")
def test_no_node_has_a_rule_for_it(own_peers):
    """No node's rules mention the headless Service, while those of one made after it are there."""
    lab, headless, pods = own_peers.lab, own_peers.service, own_peers.pods
    before = mentions(lab, pods)
    headless.follows(pods)

    # kube-proxy hears of Services, and of their endpoints, in the order in which they came about.
    # What it has not written down once the later one is there, it does not write down.
    lab.apply("ordinary.yaml")
    lab.service("ordinary").settles_on(pods)
    after = mentions(lab, pods)

    for node, rules in lab.rules("peers").items():
        found = ", ".join(f"{rule.ip}:{rule.port}" for rule in rules)
        assert not rules, f"{node} has a rule for the headless Service: {found}"
    for node in after:
        assert not before[node]["ordinary"], f"{node} had rules before there was a Service"
        assert after[node]["ordinary"], f"{node} has no rule for the ordinary Service"
        assert not before[node]["peers"] + after[node]["peers"], (
            f"{node} mentions the headless Service: {after[node]['peers'] or before[node]['peers']}"
        )


def mentions(lab, pods) -> dict[str, dict[str, list[str]]]:
    """By node, what of its rules mentions the Services `peers` and `ordinary`."""
    on_node = partial(lines_of, lab)
    if lab.cluster.mode == "ipvs":
        # Before it is there, the ordinary Service has no address, so no virtual server is its own.
        named = lab.kubectl_json("get", "services")["items"]
        own = {
            each["spec"]["clusterIP"] for each in named if each["metadata"]["name"] == "ordinary"
        }
        on_node = partial(servers_of, lab, {pod.ip for pod in pods}, own)
    nodes = lab.cluster.nodes
    with ThreadPoolExecutor(max_workers=len(nodes)) as asking:
        return dict(zip((node.name for node in nodes), asking.map(on_node, nodes), strict=True))


def lines_of(lab, node) -> dict[str, list[str]]:
    """The lines of a node's rules that mention each Service by namespace and name."""
    lines = printed_rules(lab.cluster, node.name, lab.cluster.mode).splitlines()
    return {
        service: [line for line in lines if f"{lab.namespace}/{service}" in line]
        for service in ("peers", "ordinary")
    }


def servers_of(lab, pods, own, node) -> dict[str, list[str]]:
    """A node's virtual servers that lead to Pods' addresses: ip_vs knows no names."""
    table = parse_table(lab.cluster.docker_exec(node.name, *TABLE))
    lead = [each for each in table if pods & {real.ip for real in each.reals}]
    return {
        "peers": [f"{each.ip}:{each.port}" for each in lead if each.ip not in own],
        "ordinary": [f"{each.ip}:{each.port}" for each in lead if each.ip in own],
    }


@claim("HL-04")
def test_the_ports_are_those_of_the_pods(peers):
    """By name a client comes straight to a Pod, on its own port: 8080 is not mapped to 80."""
    client, addresses = peers.client, {pod.ip for pod in peers.pods}
    peers.names.known(peers.service.dns_name)
    assert peers.service.port() == 8080, "the Service's port is another one"
    assert client.web("ordinary", 8080).ok, "the ordinary Service does not map its port"

    mapped = client.tcp("peers", 8080)
    assert mapped.error == "refused", f"port 8080 of the headless Service: {mapped.outcome}"
    assert mapped.seconds < 1.0, "refused, but only after the kernel repeated its SYN"
    for reply in client.web("peers", 80, times=5):
        assert reply.pod in peers.pod_names, f"port 80: {reply.outcome}"
        assert reply.peer.ip in addresses, f"the client asked {reply.peer}, which is no Pod"

    # Who asks the DNS for the port is told the right one: that of the Pods.
    records = peers.names.known(f"_http._tcp.{peers.service.dns_name}", "SRV").data("SRV")
    assert len(records) == 3
    assert {record.split()[2] for record in records} == {"80"}, f"SRV records: {records}"


@claim("HL-09")
def test_a_nodes_own_resolver_does_not_know_it(peers, nodes, verdict):
    """On a node curl could not resolve the host: a node does not ask the cluster DNS."""
    peers.names.known(peers.service.dns_name)

    with ThreadPoolExecutor(max_workers=len(nodes)) as asking:
        for name in ("peers", peers.service.dns_name):
            said = asking.map(lambda node, name=name: curl_on(peers.lab, node, name), nodes)
            for node, curl in zip(nodes, said, strict=True):
                assert curl.returncode == COULD_NOT_RESOLVE, (
                    f"{node.name} resolves {name}: curl ended with {curl.returncode}"
                )
                words = curl.stderr.decode()
                assert f"curl: (6) Could not resolve host: {name}" in words, words

    # It is the name that is lacking: not the resolver, nor the way to the Pods and to their DNS.
    server, rcodes = peers.names.server, set()
    for node, neighbour in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        own = node.dns(neighbour.name)
        assert own.addresses == [neighbour.ip], f"{node.name}'s resolver: {own.outcome}"
        rcodes.add(node.dns(peers.service.dns_name).rcode)
        asked = node.dns(peers.service.dns_name, server=server)
        assert set(asked.addresses) == {pod.ip for pod in peers.pods}, asked.outcome
        assert node.web(peers.pods[0].ip, 80).pods == [peers.pods[0].name]
    verdict.holds(
        f"each node's resolver knows its neighbours and says {' or '.join(sorted(rcodes))} to "
        f"the Service's name, which the cluster DNS at {server} tells the same node"
    )


def curl_on(lab, node, name: str) -> subprocess.CompletedProcess[bytes]:
    """`curl http://NAME` as a user on the node would type it."""
    curl = ("curl", "--silent", "--show-error", "--max-time", "20", f"http://{name}/hostname")
    return lab.cluster.engine.try_docker("exec", node.name, *curl)
