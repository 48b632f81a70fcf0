"""Vantage points on a real cluster: what Pods, nodes and an outside host see of a Service."""

from __future__ import annotations

import ipaddress
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from servicelab.cluster import Cluster
from servicelab.errors import InfrastructureError
from servicelab.pins import pins
from servicelab.vantage import (
    ChannelBroken,
    NodeVantage,
    OutsideVantage,
    PodVantage,
    TcpRequest,
    UdpRequest,
    client_pod_manifest,
)
from servicelab.vantage.nodes import PROBE_SELECTOR, SYSTEM_NAMESPACE
from servicelab.verdict import deadlines, eventually

pytestmark = pytest.mark.docker

CLUSTER_DNS = "10.96.0.10"
SERVICE_RANGE = "10.96.0.0/16"

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels: {{app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: {image}
          imagePullPolicy: IfNotPresent
          args: [netexec, --http-port=80, --udp-port=81]
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {{app: web}}
  ports:
    - {{name: http, port: 8080, targetPort: 80}}
    - {{name: udp, port: 8081, targetPort: 81, protocol: UDP}}
---
apiVersion: v1
kind: Service
metadata:
  name: nobody
spec:
  selector: {{app: nobody}}
  ports:
    - {{port: 8080}}
"""


@dataclass(frozen=True)
class Web:
    """Two Pods behind a Service, and a client Pod beside them."""

    namespace: str
    address: str
    nobody: str
    pods: frozenset[str]
    client: PodVantage
    client_ip: str


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Iterator[Web]:
    """The Service, once both its Pods and the client are ready."""
    namespace = f"vantage-{uuid.uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", namespace)
    try:
        yield _set_up(cluster, namespace)
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def _set_up(cluster: Cluster, namespace: str) -> Web:
    client = client_pod_manifest("client", namespace)
    account = deadlines.current().namespace_sa
    eventually(
        lambda: cluster.kubectl("-n", namespace, "get", "serviceaccounts", "--output=name"),
        lambda names: "serviceaccount/default" in names,
        deadline=account,
        expecting=f"the namespace {namespace} to have its ServiceAccount",
    )
    for manifest in (WEB.format(image=pins().agnhost_image), json.dumps(client)):
        cluster.kubectl("-n", namespace, "apply", "-f", "-", input=manifest)
    patience = f"--timeout={deadlines.current().pod_ready.seconds:.0f}s"
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", patience)
    cluster.kubectl("-n", namespace, "wait", "pod/client", "--for=condition=Ready", patience)

    def read(what: str, path: str) -> str:
        return cluster.kubectl("-n", namespace, "get", *what.split(), f"--output=jsonpath={path}")

    vantage = PodVantage(cluster.client.configuration, namespace, "client")
    found = Web(
        namespace=namespace,
        address=read("service web", "{.spec.clusterIP}"),
        nobody=read("service nobody", "{.spec.clusterIP}"),
        pods=frozenset(read("pods -l app=web", "{.items[*].metadata.name}").split()),
        client=vantage,
        client_ip=read("pod client", "{.status.podIP}"),
    )
    for place in (vantage, *cluster.node_vantages):
        eventually(
            lambda place=place: place.web(found.address, 8080),  # type: ignore[misc]
            lambda replies: replies.ok,
            deadline=deadlines.current().service_reachable,
            expecting=f"Service {namespace}/web should answer",
            asked_from=place.name,
        )
    return found


def test_a_pod_hears_who_answered_and_is_seen_as_itself(web: Web) -> None:
    """From a Pod, a Service's Pods answer by name, and see the client Pod's own address."""
    replies = web.client.web(web.address, 8080, times=71)

    assert replies.ok, replies.table()
    assert set(replies.pods) == web.pods
    assert set(replies.client_ips) == {web.client_ip}
    assert len({reply.local for reply in replies}) == 71
    assert {str(reply.peer) for reply in replies} == {f"{web.address}:8080"}


def test_every_node_is_a_place_to_ask_from(web: Web, nodes: list[NodeVantage]) -> None:
    """From each node, control plane included, both Pods of the Service answer."""
    for node in nodes:
        replies = node.web(web.address, 8080, times=31)

        assert replies.ok, replies.table()
        assert set(replies.pods) == web.pods


def test_a_node_has_its_own_address_and_resolver(
    web: Web, nodes: list[NodeVantage], cluster: Cluster
) -> None:
    """A node's vantage point has the node's addresses, and not the cluster's DNS."""
    assert [node.name for node in nodes] == [node.name for node in cluster.nodes]
    for node in nodes:
        assert node.ip in node.interfaces().addresses
        assert CLUSTER_DNS not in node.read_file("/etc/resolv.conf")
        assert node.resolve(f"web.{web.namespace}.svc.cluster.local").error == "name"


def test_udp_is_answered_by_the_same_pods(web: Web) -> None:
    """Datagrams through the Service reach its Pods, and are answered from its address."""
    requests = [UdpRequest(web.address, 8081, each) for each in (b"hostname", b"clientip")] * 10
    replies = web.client.ask(requests)

    assert replies.ok, replies.table()
    assert set(replies.pods) <= web.pods
    assert set(replies.client_ips) == {web.client_ip}


def test_a_service_without_endpoints_is_refused_from_everywhere(
    web: Web, nodes: list[NodeVantage]
) -> None:
    """Where nobody is behind a Service the error class is `refused`, not `timeout`."""
    for place in (web.client, *nodes):
        assert place.tcp(web.nobody, 8080).error == "refused", place.name


def test_dns_answers_have_flags_ttl_and_sections(web: Web) -> None:
    """The cluster's DNS is asked directly, over UDP and TCP, past search list and cache."""
    name = f"web.{web.namespace}.svc.cluster.local"
    for tcp in (False, True):
        known = web.client.dns(name, server=CLUSTER_DNS, tcp=tcp)
        unknown = web.client.dns(f"no-{name}", server=CLUSTER_DNS, tcp=tcp)

        assert known.addresses == [web.address]
        assert known.authoritative
        assert known.ttl is not None
        assert known.ttl <= 30
        assert unknown.ok
        assert unknown.rcode == "NXDOMAIN"
        assert unknown.authority[0].rdtype == "SOA"


def test_a_pod_resolves_short_names_as_its_programs_would(web: Web) -> None:
    """In a Pod the short name resolves by the search list, and its canonical name is the full."""
    short = web.client.resolve("web")

    assert short.addresses == (web.address,)
    assert web.client.dns("web").rcode != "NOERROR"
    assert f"nameserver {CLUSTER_DNS}" in web.client.read_file("/etc/resolv.conf")
    assert web.client.get(f"http://web.{web.namespace}:8080/hostname").pod in web.pods


def test_outside_has_no_route_to_services_until_it_is_given_one(
    web: Web, outside: OutsideVantage, nodes: list[NodeVantage]
) -> None:
    """The outside host reaches nodes; a Service only by a route to a node, and not afterwards."""
    node = nodes[-1]
    address = ipaddress.ip_address(outside.ip)
    assert address in ipaddress.ip_network(f"{node.ip}/16", strict=False)
    assert outside.tcp(node.ip, 10250).ok  # the kubelet's port, open on every node

    before = outside.web(web.address, 8080, timeout=1.0)
    outside.add_route(SERVICE_RANGE, node.ip)
    try:
        routed = outside.web(web.address, 8080, times=31)
    finally:
        outside.del_route(SERVICE_RANGE)
    after = outside.web(web.address, 8080, timeout=1.0)

    assert before[0].error in ("timeout", "unreachable"), before.table()
    assert routed.ok, routed.table()
    assert set(routed.pods) == web.pods
    assert after[0].error in ("timeout", "unreachable"), after.table()


def test_a_neighbour_is_forgotten(outside: OutsideVantage, nodes: list[NodeVantage]) -> None:
    """What ARP has told stays known until it is forgotten."""
    node = nodes[-1]
    assert outside.tcp(node.ip, 10250).ok

    assert node.ip in outside.neighbours()
    outside.forget_neighbours()
    assert node.ip not in outside.neighbours()


def test_a_continuous_client_runs_beside_other_questions(web: Web) -> None:
    """A stream through a Service goes on while its Pod asks other things, without an error."""
    with web.client.continuously_web(web.address, 8080, every=0.01) as stream:
        others = web.client.web(web.address, 8080, times=71)
        eventually(
            lambda: len(stream.so_far()),
            lambda asked: asked >= 20,
            deadline=deadlines.current().stays_so,
            expecting="the stream to have asked 20 times",
        )

    assert others.ok
    assert stream.replies.ok, stream.replies.table()
    assert set(stream.replies.pods) == web.pods


def test_closing_ends_the_probe_in_the_pod(web: Web, cluster: Cluster) -> None:
    """A channel that is closed leaves no process behind in the Pod."""
    count = (
        "import pathlib;"
        "print(sum(b'\\0channel\\0' in p.read_bytes() for p in pathlib.Path('/proc')"
        ".glob('[0-9]*/cmdline')))"
    )

    def channels() -> int:
        command = ["exec", "client", "--", "python3", "-c", count]
        return int(cluster.kubectl("-n", web.namespace, *command))

    web.client.reach()
    assert channels() >= 1
    web.client.close()

    eventually(
        channels,
        lambda running: running == 0,
        deadline=deadlines.current().pod_gone,
        expecting="the probe's channel to end",
    )


def test_a_node_whose_probe_was_replaced_is_found_again(
    web: Web, nodes: list[NodeVantage], cluster: Cluster
) -> None:
    """When a node's probe Pod is deleted, the same vantage point asks from its successor."""
    node = nodes[-1]
    node.reach()
    cluster.kubectl(
        "-n", SYSTEM_NAMESPACE, "delete", "pod", f"--selector={PROBE_SELECTOR}",
        f"--field-selector=spec.nodeName={node.name}",
    )  # fmt: skip

    replies = eventually(
        lambda: node.web(web.address, 8080),
        lambda replies: replies.ok,
        deadline=deadlines.current().pod_ready,
        expecting=f"the probe of {node.name} to come back",
        retry_on=(InfrastructureError,),
    )

    assert set(replies.pods) <= web.pods


def test_a_pod_that_is_gone_is_an_infrastructure_failure(web: Web, cluster: Cluster) -> None:
    """Asking from a Pod that does not exist says which, and is no verdict on the target."""
    ghost = PodVantage(cluster.client.configuration, web.namespace, "ghost")

    with pytest.raises(ChannelBroken, match=f'{web.namespace}/ghost: pods "ghost" not found'):
        ghost.ask([TcpRequest(web.address, 8080)])


def test_everybody_pings_everybody(
    web: Web, nodes: list[NodeVantage], outside: OutsideVantage
) -> None:
    """A Pod, without a capability, a node and a host outside are answered by whom they ping."""
    node = nodes[-1]
    for place, address in (
        (web.client, node.ip),
        (web.client, outside.ip),
        (node, web.client_ip),
        (node, outside.ip),
        (outside, node.ip),
    ):
        echo = place.ping(address)

        assert echo.answered_by == address, f"{place.name} pinged {address}: {echo.outcome}"


def test_a_host_outside_hears_who_has_an_address(
    nodes: list[NodeVantage], outside: OutsideVantage
) -> None:
    """By ARP each node has its own address, alone; a node's question about another is heard."""
    macs = {node.name: outside.who_has(node.ip).macs for node in nodes}

    assert all(len(each) == 1 for each in macs.values()), macs
    assert len(set(macs.values())) == len(nodes), "two nodes have one MAC address"
    nobody = ipaddress.ip_address(outside.ip) + 100
    assert outside.who_has(str(nobody), timeout=0.3).error == "timeout"
    with outside.watch_arp(str(nobody)) as stream:
        nodes[0].ping(str(nobody), timeout=1.0)
    asked = [packet for reply in stream.replies for packet in reply.packets]
    assert asked, "the node's question was not heard"
    assert {packet.sender_mac for packet in asked} == set(macs[nodes[0].name])
    assert not any(packet.gratuitous for packet in asked)
