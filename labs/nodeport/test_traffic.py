"""What a node does with traffic to a node port: from outside, from itself, under both policies."""

from __future__ import annotations

import re

from servicelab import claim, eventually
from servicelab.verdict import deadlines

#: What kube-proxy serves itself, by default: its metrics and its health check.
KUBE_PROXY_PORTS = {10249, 10256}
#: Processes of a line of `ss`: users:(("kube-proxy",pid=412,fd=14))
PROCESS = re.compile(r'\("([^"]+)",pid=')


def listeners(cluster, node: str) -> dict[int, set[str]]:
    """The TCP ports that somebody listens on in a node, and who: what `ss -tlnp` shows there."""
    shown = cluster.docker_exec(node, "ss", "--no-header", "-tlnp")
    found: dict[int, set[str]] = {}
    for line in shown.splitlines():
        local = line.split()[3]
        found.setdefault(int(local.rpartition(":")[2]), set()).update(PROCESS.findall(line))
    return found


@claim("NP-01")
def test_every_node_answers_from_outside(web, expose, nodes, outside):
    """NODE-IP:30001 leads to a Pod on every node, whether or not that node runs one."""
    service = expose("fixed.yaml", "web")

    assert (service.node_port, service.port()) == (30001, 8060)
    without = [node.name for node in nodes if not web.pods_on(node.name)]
    assert 0 < len(without) < len(nodes), "needs nodes with a Pod and nodes without one"
    assert nodes[0].role == "control-plane"
    for node in nodes:
        replies = outside.web(node.url(30001), times=5, timeout=1.0)
        runs = "without a Pod" if node.name in without else "with a Pod"
        assert replies.ok, f"{node.name}, {runs}, does not answer: {replies}"
        assert set(replies.pods) <= web.pod_names, f"{node.name} was answered by a stranger"


@claim("NP-07")
def test_who_listens_on_the_port(web, expose, nodes, outside, verdict):
    """`ss` on each node shows who listens on the node port."""
    service = expose("picked.yaml", "picked")
    port = service.node_port
    cluster = web.lab.cluster
    found = {node.name: listeners(cluster, node.name) for node in nodes}

    for node, ports in found.items():
        known = {number for number, names in ports.items() if "kube-proxy" in names}
        assert known >= KUBE_PROXY_PORTS, f"ss shows nothing of kube-proxy on {node}: {ports}"
    for node in nodes:
        replies = outside.web(node.url(port), times=3)
        assert replies.ok, f"{node.name} does not answer: {replies}"
    holders = {node: ports.get(port, set()) for node, ports in found.items()}
    if all(names == {"kube-proxy"} for names in holders.values()):
        verdict.holds("kube-proxy listens on the port on every node")
        return
    strangers = {f"{node}: {', '.join(names)}" for node, names in holders.items() if names}
    assert not strangers, f"somebody else listens on the port, on {sorted(strangers)}"
    verdict.changed(
        "since Kubernetes 1.24 nobody listens on it, on any node; rules in the kernel lead it away"
    )


@claim("NP-08")
def test_it_has_a_cluster_ip_too(web, expose, nodes, outside):
    """A NodePort Service is a ClusterIP Service: both addresses lead to the same Pods."""
    service = expose("picked.yaml", "picked")
    port = service.node_port

    assert service.read().spec.type == "NodePort"
    inside = web.client.web(service.url, times=3)
    assert inside.ok, f"the ClusterIP does not answer in a Pod: {inside}"
    assert set(inside.pods) <= web.pod_names
    for node in nodes:
        replies = outside.web(node.url(port), times=3)
        assert replies.ok, f"{node.name}:{port} does not answer: {replies}"
        assert set(replies.pods) <= web.pod_names
    for node, rules in web.lab.rules("picked").items():
        backends = {rule.kind: rule.backends for rule in rules}
        assert backends["node"] == backends["cluster"], f"they lead elsewhere on {node}: {backends}"


@claim("NP-09")
def test_whose_address_a_pod_sees(web, expose, nodes, outside, verdict):
    """Policy Cluster hides the client's address behind the node's; Local keeps it, and answers
    only on nodes with a Pod."""
    service = expose("picked.yaml", "picked")
    port = service.node_port
    for node in nodes:
        replies = outside.web(node.url(port), times=4)
        assert replies.ok, f"{node.name} does not answer: {replies}"
        seen, own = set(replies.client_ips), node.interfaces().addresses
        assert outside.ip not in seen, f"through {node.name} a Pod saw the client's own address"
        assert seen <= own, f"through {node.name} Pods saw {seen - own}, which is not the node's"

    web.lab.patch_service("picked", externalTrafficPolicy="Local")
    keeps_to_its_own(web, nodes)
    service.listed_in_ipsets()

    failures = set()
    for node in nodes:
        replies = outside.web(node.url(port), times=3, timeout=1.0, workers=3)
        if not web.pods_on(node.name):
            assert not replies.pods, f"{node.name} runs no Pod, and answers by {replies}"
            failures |= set(replies.summary())
            continue
        assert replies.ok, f"{node.name} runs a Pod, and does not answer: {replies}"
        assert set(replies.client_ips) == {outside.ip}, f"seen through {node.name}"
        assert set(replies.pods) <= web.pods_on(node.name), f"{node.name} sent it elsewhere"
    assert len(failures) == 1, f"nodes without a Pod fail in several ways: {failures}"
    verdict.holds(f"under Local, nodes without a Pod do not answer: {failures.pop()}")


def keeps_to_its_own(web, nodes) -> None:
    """Wait until each node's rule for the node port leads to its own Pods only.

    In ipvs mode a node without any leads to all of them, for its own Pods' sake: they reply to a
    client outside with their own addresses, which it has not asked.
    """
    others = web.pod_names if web.lab.cluster.mode == "ipvs" else set()
    wanted = {node.name: web.pods_on(node.name) or others for node in nodes}
    names = {pod.ip: pod.name for pod in web.pods}

    def leads_to() -> dict[str, set[str]]:
        return {
            node: {names.get(each.ip, each.ip) for rule in rules for each in rule.backends}
            for node, found in web.lab.rules("picked").items()
            if (rules := [rule for rule in found if rule.kind == "node"])
        }

    eventually(
        leads_to,
        lambda found: found == wanted,
        deadline=deadlines.current().rules_programmed,
        expecting=f"each node's node port to lead to its own Pods only, {wanted}",
    )


@claim("NP-10")
def test_on_a_node_itself_127_0_0_1_answers(web, expose, nodes, verdict):
    """On a node, 127.0.0.1 answers on the node port as the node's address does."""
    service = expose("picked.yaml", "picked")
    port = service.node_port
    for node in nodes:
        replies = node.web(node.url(port), times=3)
        assert replies.ok, f"{node.name} does not answer itself on its own address: {replies}"

    local = {node.name: node.web("127.0.0.1", port, times=3, timeout=1.0) for node in nodes}

    told = "; ".join(f"{node}: {replies}" for node, replies in local.items())
    answered = {node for node, replies in local.items() if replies.ok}
    assert answered in (set(), set(local)), f"127.0.0.1 answers on some nodes only: {told}"
    if not answered:
        met = {what for replies in local.values() for what in replies.summary()}
        verdict.false(f"on every node 127.0.0.1 does not answer: {', '.join(sorted(met))}")
        return
    assert {pod for replies in local.values() for pod in replies.pods} <= web.pod_names
    setting = "/proc/sys/net/ipv4/conf/all/route_localnet"
    routed = {web.lab.cluster.docker_exec(node, "cat", setting).strip() for node in local}
    assert routed == {"1"}, f"127.0.0.1 answers without route_localnet: {routed}"
    verdict.holds_but("kube-proxy sets route_localnet on each node for it")
