"""For each claim of labs/clusterip a fault in the cluster under which it does not hold.

`pytest labs/clusterip --refute tests/cluster/refuters/clusterip.py` runs the lab's tests under
these faults: each of them must fail, and for the reason that is expected here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from servicelab.lab import Fault, Lab
from servicelab.lab.faults import (
    frozen,
    in_clients,
    in_container,
    in_documents,
    in_services,
    on_nodes,
    once,
    patches,
    together,
)
from servicelab.verdict import statistics
from servicelab.verdict.refuter import Refuter

Document = dict[str, Any]
NOBODY = "192.0.2.9"  # of TEST-NET-1, which is nobody's
ENOUGH = statistics.requests_for_shares(2)


# Faults in what is applied.


def a_stranger_is_listed(documents: list[Document]) -> list[Document]:
    """List an address in the Service's endpoints that no Pod has, once Pods are added by hand."""
    if all(document["metadata"]["name"] != "moody" for document in documents):
        return documents
    return [
        *documents,
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "stranger", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"port": 80, "protocol": "TCP"}],
            "endpoints": [{"addresses": [NOBODY]}],
        },
    ]


def unlabelled(service: Document) -> None:
    """Take a Service's own labels away."""
    service["metadata"].pop("labels", None)


def local_only(service: Document) -> None:
    """Keep what comes from outside on the node that it comes to."""
    if "externalIPs" in service["spec"]:
        service["spec"]["externalTrafficPolicy"] = "Local"


def rename_http(service: Document) -> None:
    """Call the port http something else."""
    for port in service["spec"]["ports"]:
        if port["name"] == "http":
            port["name"] = "hypertext"


# Faults in what stands there.

# What is looked up first: in ipvs mode a ClusterIP is an address of every node.
FIRST = ("table", "local")


def no_way_from_the_control_plane(lab: Lab) -> None:
    """One node has no route to the Service's address."""
    address = lab.service("web").cluster_ip
    on_nodes(lab, [lab.cluster.nodes[0].name], "route", "unreachable", f"{address}/32", *FIRST)


def silence(lab: Lab) -> None:
    """Every node drops what goes to the Service's address, without a word."""
    address = lab.service("nobody").cluster_ip
    names = [node.name for node in lab.cluster.nodes]
    on_nodes(lab, names, "route", "blackhole", f"{address}/32", *FIRST)


def no_way_back(lab: Lab) -> None:
    """A Pod's packets are not led back to the Pod itself."""
    pod = lab.running_pod("narcissus")
    on_nodes(lab, [pod.node], "rule", "from", pod.ip, "to", pod.ip, "unreachable")


def a_route_outside(lab: Lab) -> None:
    """The hosts beside the cluster have a route to the Service's address."""
    engine, cluster = lab.cluster.engine, lab.cluster
    address, via = lab.service("web").cluster_ip, cluster.nodes[0].ip
    beside = engine.docker("ps", "--quiet", "--filter", f"label=servicelab.cluster={cluster.name}")
    for container in beside.split():
        route = ("exec", "--user", "0:0", container, "ip", "route")
        engine.docker(*route, "add", f"{address}/32", "via", via)
        lab.on_close(lambda route=route: engine.docker(*route, "del", f"{address}/32"))


def no_metrics_port(lab: Lab) -> None:
    """kube-dns has two of its three ports, until the lab ends."""
    ports = lab.core.read_namespaced_service("kube-dns", "kube-system").spec.ports

    def patch(kept: list[Any]) -> None:
        body = [{"op": "replace", "path": "/spec/ports", "value": kept}]
        lab.core.patch_namespaced_service("kube-dns", "kube-system", body)

    wire = lab.core.api_client.sanitize_for_serialization(ports)
    patch([port for port in wire if port["port"] != 9153])
    lab.on_close(lambda: patch(wire))


def a_namesake(lab: Lab) -> None:
    """Each namespace has a Service `nobody`."""
    names = [each.metadata.name for each in lab.core.list_namespaced_service(lab.namespace).items]
    if "nobody" not in names:
        spec = {"selector": {"app": "nobody"}, "ports": [{"port": 8080}]}
        body = {"metadata": {"name": "nobody"}, "spec": spec}
        lab.core.create_namespaced_service(lab.namespace, body)


def hijack(lab: Lab) -> None:
    """Another Service claims the Pods' own addresses, and shares out what goes to them.

    In ipvs mode they would be every node's own, and nobody would reach a Pod: there two rules share
    out what goes to the ClusterIP, before IPVS gets it.
    """
    pods = lab.ready_pods("app=web", 3)
    if lab.cluster.mode == "ipvs":
        share_out(lab, [pod.ip for pod in pods[:2]])
        return
    spec = {
        "selector": {"app": "web"},
        "externalIPs": [pod.ip for pod in pods],
        "ports": [{"port": 80}],
    }
    body = {"metadata": {"name": "hijack"}, "spec": spec}
    lab.core.create_namespaced_service(lab.namespace, body)
    lab.service("hijack").settles_on(pods)


def share_out(lab: Lab, ips: Iterable[str]) -> None:
    """On every node, lead one of three connections to the ClusterIP to each of two Pods."""
    to = ("--destination", lab.service("web").cluster_ip, "--protocol", "tcp", "--dport", "8080")
    # One of three, and of those that are left one of two.
    for place, (of, ip) in enumerate(zip((3, 2), ips, strict=True), 1):
        turn = ("--match", "statistic", "--mode", "nth", "--every", str(of), "--packet", "0")
        rule = (*to, *turn, "--jump", "DNAT", "--to-destination", f"{ip}:80")
        nat = ("iptables", "--wait", "--table", "nat")
        for node in lab.cluster.nodes:
            run = partial(lab.cluster.docker_exec, node.name, *nat)
            run("--insert", "PREROUTING", str(place), *rule)
            lab.on_close(partial(run, "--delete", "PREROUTING", *rule))


# Faults in what a verb does.


def exposes(**options: str) -> Fault:
    """`kubectl expose` with further options."""
    further = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]

    def kubectl(lab: Lab, *args: str, stdin: str | None) -> tuple[list[str], str | None]:
        return [*args, *further] if args[0] == "expose" else list(args), stdin

    return Fault(instead={"kubectl": kubectl})


def keeps_the_default(lab: Lab, service: str, spec: dict[str, Any]) -> None:
    """The affinity's time-out stays as it is by default."""
    spec.pop("sessionAffinityConfig", None)


def never_sticks(lab: Lab, service: str, spec: dict[str, Any]) -> None:
    """There is no affinity."""
    spec.clear()


def leaves_one_pod(lab: Lab, service: str, spec: dict[str, Any]) -> None:
    """Without affinity, there is one Pod behind the Service only."""
    if spec["sessionAffinity"] != "None":
        return
    chosen = lab.pods("app=web")[0]
    lab.label(chosen, chosen="yes")
    selector = {"spec": {"selector": {"app": "web", "chosen": "yes"}}}
    lab.core.patch_namespaced_service(service, lab.namespace, selector)
    lab.service(service).settles_on([chosen])


# Where no Pod of the Service runs.
_FAR_CLIENT = in_clients(
    nodeSelector={"node-role.kubernetes.io/control-plane": ""},
    tolerations=[{"operator": "Exists"}],
)
_STICKY = in_services(sessionAffinity="ClientIP")
_WEB_FROZEN = frozen("web", "app=web", 3)

_ALL = [
    Refuter(
        "CIP-01",
        exposes(type="LoadBalancer"),
        expects="expose made a Service of type LoadBalancer",
        why="expose makes a Service of another type.",
    ),
    Refuter(
        "CIP-02",
        exposes(session_affinity="ClientIP"),
        expects="expose and the manifest give different Services",
        why="expose sets an affinity that the manifest does not have.",
    ),
    Refuter(
        "CIP-03",
        Fault(documents=a_stranger_is_listed),
        expects=f"{NOBODY}:80 is still listed",
        why="A further EndpointSlice of the Service lists an address that no Pod has.",
        layer="endpointslice",
    ),
    Refuter(
        "CIP-04",
        _WEB_FROZEN,
        expects="is still listed",
        why="The endpoints do not follow the selector any more.",
        layer="selector",
    ),
    Refuter(
        "CIP-05",
        frozen("testpod", "run=testpod", 1),
        expects="is not listed",
        why="The endpoints do not follow the selector any more.",
        layer="selector",
    ),
    Refuter(
        "CIP-06",
        once(no_way_from_the_control_plane),
        expects="control-plane: unreachable: 5",
        why="One node has no route to the ClusterIP.",
        layer="rules",
    ),
    Refuter(
        "CIP-07",
        once(a_route_outside),
        expects="a host outside that was given no route is answered all the same",
        why="The host outside leads the ClusterIP to a node before the lab tells it to.",
    ),
    Refuter(
        "CIP-08",
        _STICKY,
        expects=f"{ENOUGH} of {ENOUGH} answers; each of 2 equal backends gives",
        why="With affinity the one client gets one Pod only.",
    ),
    Refuter(
        "CIP-09",
        _STICKY,
        expects="neither in turn nor at random",
        why="With affinity the one client gets one Pod only.",
    ),
    Refuter(
        "CIP-10",
        in_services(publishNotReadyAddresses=True),
        expects="is still listed",
        why="The Service publishes Pods that are not ready.",
    ),
    Refuter(
        "CIP-11",
        once(silence),
        expects="last saw   timeout",
        why="The nodes drop what goes to the ClusterIP instead of refusing it.",
    ),
    Refuter(
        "CIP-12",
        frozen("rolling", "app=rolling", 2),
        expects="is not listed",
        why="The endpoints do not follow the selector any more.",
        layer="selector",
    ),
    Refuter(
        "CIP-13",
        in_container("web", args=["netexec", "--http-port=80", "--udp-port=-1"]),
        expects="port talk, over UDP: refused",
        why="The Pod does not listen on the UDP port.",
        layer="targetPort",
    ),
    Refuter(
        "CIP-14",
        in_documents("Service", unlabelled),
        expects="get --show-labels shows <none>",
        why="The Service has no labels that could be shown.",
    ),
    Refuter(
        "CIP-15",
        once(no_way_back),
        expects="the Pod asked itself and met ",
        why="The node does not lead a Pod's packets back to itself.",
    ),
    Refuter(
        "AFF-01",
        together(_FAR_CLIENT, once(hijack)),
        expects="not sticky",
        why="A Service on the Pods' own addresses shares out again what affinity had decided.",
    ),
    Refuter(
        "AFF-02",
        in_clients(hostNetwork=True),
        expects="the 3 clients have one Pod in common",
        why="The clients have one address: that of their node.",
    ),
    Refuter(
        "AFF-03",
        patches(leaves_one_pod),
        expects="not spread",
        why="Without affinity all requests still go to one Pod, the only one left.",
    ),
    Refuter(
        "AFF-04",
        patches(keeps_the_default),
        expects="to have the affinity 2",
        why="The affinity's time-out stays 10800 s.",
    ),
    Refuter(
        "AFF-05",
        patches(never_sticks),
        expects="every node's kernel to keep the affinity",
        why="There is no affinity that could live anywhere.",
    ),
    Refuter(
        "AFF-06",
        _WEB_FROZEN,
        expects="is still listed",
        why="The dead Pod stays an endpoint, and the client stays with it.",
        layer="selector",
    ),
    Refuter(
        "DNS-01",
        in_services(clusterIP="None"),
        expects="the name is not the ClusterIP",
        why="The Service is headless: its name is its Pods' addresses.",
    ),
    Refuter(
        "DNS-02",
        once(a_namesake),
        expects="the short name, from another namespace",
        why="The other namespace has a Service of that name too.",
    ),
    Refuter(
        "DNS-03",
        in_clients(dnsPolicy="Default"),
        expects="the Pod does not ask kube-dns",
        why="The Pod has its node's resolv.conf.",
    ),
    Refuter(
        "DNS-04",
        once(no_metrics_port),
        expects="kube-dns has other ports",
        why="The Service kube-dns has lost its port 9153.",
    ),
    Refuter(
        "DNS-05",
        in_documents("Service", rename_http),
        expects="the cluster DNS to have SRV records for _http._tcp.many",
        why="The port has another name, and the SRV record with it.",
    ),
    Refuter(
        "DNS-06",
        in_services(clusterIP="None"),
        expects="the cluster DNS to have A records for nobody",
        why="The Service is headless, and without endpoints it has no A record.",
    ),
    Refuter(
        "XIP-01",
        in_documents("Service", local_only),
        expects="the external address to be answered at",
        why="A node without a Pod of the Service drops what comes from outside.",
    ),
]

REFUTERS = {refuter.claim: refuter for refuter in _ALL}
