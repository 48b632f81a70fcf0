"""What ipvs mode alone has: virtual servers, a link that holds every address, sets, schedulers."""

from __future__ import annotations

import pytest

from servicelab import claim
from servicelab.observe.ipvs import IPSETS, IPVS_LINK, IPVS_TABLE
from servicelab.observe.ipvs_table import VirtualServer, parse_sets, parse_table
from servicelab.verdict import deadlines, eventually, statistics

#: The tutorial's table of sets that matter for a ClusterIP Service.
SETS = ("KUBE-CLUSTER-IP", "KUBE-LOOP-BACK", "KUBE-NODE-PORT-TCP")


def servers(node) -> dict[str, VirtualServer]:
    """The virtual servers of a node, by address and port; all forward by masquerading."""
    table = parse_table(node.read_file(IPVS_TABLE))
    return {f"{each.ip}:{each.port}": each for each in table}


@claim("PXY-05")
def test_ipvs_takes_turns(web, verdict):
    """With the scheduler rr three Pods take turns, one connection after the other."""
    enough = statistics.requests_for_rotation(3)
    trace = web.client.web(web.service.url, times=enough).pods

    judged = statistics.rotation(trace, 3)
    assert judged, judged.why
    verdict.holds(judged.why)


@claim("PXY-08")
def test_a_link_holds_every_service_address(own_web):
    """kube-ipvs0, a dummy that is down and answers no ARP, has the address as long as the Service
    is there."""
    lab, address = own_web.lab, own_web.service.cluster_ip
    for node in lab.cluster.node_vantages:
        link = lab.cluster.docker_exec(node.name, "ip", "-details", "link", "show", IPVS_LINK)
        assert "dummy" in link, link
        assert "NOARP" in link, link
        assert "state DOWN" in link, link
        assert address in addresses(node), f"{node.name}: {address} is not on {IPVS_LINK}"

    lab.delete_service("web")

    eventually(
        lambda: [node.name for node in lab.cluster.node_vantages if address in addresses(node)],
        lambda holding: not holding,
        deadline=deadlines.current().rules_programmed,
        expecting=f"{IPVS_LINK} to give up {address} on every node",
    )


def addresses(node) -> set[str]:
    """The addresses on a node's kube-ipvs0."""
    return set(node.interfaces().links.get(IPVS_LINK, ()))


@claim("PXY-09")
def test_the_table_has_the_service_and_its_endpoints(own_web):
    """ADDRESS:PORT with rr and each endpoint, Masq, weight 1; a Pod that joins is added, and a
    Service that is deleted is gone."""
    lab, service = own_web.lab, own_web.service
    named = f"{service.cluster_ip}:8080"
    for node in lab.cluster.node_vantages:
        assert named in servers(node), f"{node.name} lists no {named}"
        server = servers(node)[named]
        assert server.scheduler == "rr"
        assert {f"{real.ip}:{real.port}" for real in server.reals} == {
            f"{pod.ip}:80" for pod in own_web.pods
        }
        assert {real.weight for real in server.reals} == {1}

    lab.scale("web", 4)
    service.settles_on(lab.ready_pods("app=web", 4))
    assert {len(servers(node)[named].reals) for node in lab.cluster.node_vantages} == {4}

    lab.delete_service("web")
    eventually(
        lambda: [node.name for node in lab.cluster.node_vantages if named in servers(node)],
        lambda listing: not listing,
        deadline=deadlines.current().rules_programmed,
        expecting=f"no node to list {named}",
    )


@pytest.mark.disruptive
@claim("PXY-10")
def test_schedulers_can_be_set(own_web, verdict):
    """No scheduler means rr, and the log says so; wrr, lc, wlc and sh can be set; sh keeps a client
    with one Pod.

    Each is set on the client's node alone, since that is where its connections are scheduled.
    """
    lab, client, url = own_web.lab, own_web.client, own_web.service.url
    named, kube_proxy = f"{own_web.service.cluster_ip}:8080", lab.kube_proxy
    at = lab.running_pod(client.pod).node
    node = next(each for each in lab.cluster.node_vantages if each.name == at)
    assert not kube_proxy.configuration()["ipvs"].get("scheduler"), "none is set"
    log = kube_proxy.log(node.name)
    assert "IPVS scheduler not specified, use rr by default" in log, log

    told = []
    for scheduler in ("wrr", "lc", "wlc", "sh"):
        kube_proxy.run(node, "ipvs", scheduler=scheduler)
        own_web.service.settles_on(own_web.pods)
        used = servers(node)[named].scheduler
        assert used == scheduler, f"{scheduler} was set, {used} is used"
        answered = client.web(url, times=statistics.equal_answers_for_affinity(3))
        told.append(f"{scheduler} {len(set(answered.pods))} Pods in {len(answered)} requests")
        if scheduler == "sh":
            assert len(set(answered.pods)) == 1, f"sh: {answered.counts()}"
    verdict.holds(", ".join(told))


@claim("PXY-11")
def test_the_sets_have_what_their_names_say(own_web):
    """The Service's address stands in KUBE-CLUSTER-IP, its local endpoints in KUBE-LOOP-BACK."""
    lab, address = own_web.lab, own_web.service.cluster_ip
    for node in lab.cluster.node_vantages:
        sets = {each.name: each for each in parse_sets(saved(lab, node))}
        missing = [name for name in SETS if name not in sets]
        assert not missing, f"{node.name} has no set {missing[0]}"
        cluster_ips = {entry.split(",")[0] for entry in sets["KUBE-CLUSTER-IP"].entries}
        assert address in cluster_ips, f"KUBE-CLUSTER-IP of {node.name} lacks {address}"
        loop_back = {entry.split(",")[0] for entry in sets["KUBE-LOOP-BACK"].entries}
        local = {pod.ip for pod in own_web.pods if pod.node == node.name}
        assert local <= loop_back, f"KUBE-LOOP-BACK of {node.name} lacks {local - loop_back}"


def saved(lab, node) -> str:
    """What `ipset save` prints on a node."""
    return lab.cluster.docker_exec(node.name, *IPSETS)
