"""A Service: how it is made, where it answers, and where it does not."""

from __future__ import annotations

import ipaddress
import re
import subprocess

import pytest
import yaml

from servicelab import claim, eventually
from servicelab.pins import pins
from servicelab.verdict import deadlines

AGNHOST = pins().agnhost_image
DRY_RUN = ("--dry-run=client", "-o", "yaml")


def create_deployment(lab) -> str:
    """`kubectl create deployment`, printed instead of done."""
    command = ("--", "/agnhost", "netexec", "--http-port=80")
    return lab.kubectl(
        "create", "deployment", "web", f"--image={AGNHOST}", "--replicas=2", *DRY_RUN, *command
    )


@claim("CIP-01")
def test_two_dry_runs_joined_by_dashes_are_two_objects(lab):
    """`create deployment` and `expose`, joined by ---, apply as a Deployment and a Service."""
    deployment = create_deployment(lab)
    lab.kubectl("apply", "-f", "-", stdin=deployment)
    service = lab.kubectl(
        "expose", "deployment", "web", "--port=8080", "--target-port=80", *DRY_RUN
    )

    printed = lab.kubectl("apply", "-f", "-", stdin=f"{deployment}---\n{service}")

    assert re.fullmatch(
        r"deployment.apps/web (unchanged|configured)\nservice/web created\n", printed
    ), f"kubectl apply did not take them for two objects: {printed}"
    made = lab.service("web").read()
    cidr = lab.kubectl_json("get", "servicecidr", "kubernetes")["spec"]["cidrs"][0]
    assert made.spec.type == "ClusterIP", f"expose made a Service of type {made.spec.type}"
    assert ipaddress.ip_address(made.spec.cluster_ip) in ipaddress.ip_network(cidr), (
        "its address is not from the service range"
    )
    header, row = (line.split() for line in lab.kubectl("get", "service", "web").splitlines())
    seen = dict(zip(header, row, strict=True))
    assert seen["TYPE"] == "ClusterIP"
    assert seen["CLUSTER-IP"] == made.spec.cluster_ip
    assert seen["EXTERNAL-IP"] == "<none>"
    assert seen["PORT(S)"] == "8080/TCP"


@claim("CIP-02")
def test_expose_and_the_manifest_give_the_same_service(lab):
    """The imperative and the declarative Service have the same type, ports and selector."""
    lab.apply("web.yaml")
    lab.kubectl(
        "expose", "deployment", "web", "--name=imperative", "--port=8080", "--target-port=80"
    )

    def spec(name: str) -> dict:
        read = lab.kubectl_json("get", "service", name)["spec"]
        return {key: value for key, value in read.items() if key not in ("clusterIP", "clusterIPs")}

    imperative, declarative = spec("imperative"), spec("web")
    assert imperative == declarative, "expose and the manifest give different Services"


@claim("CIP-06")
def test_every_node_and_every_pod_reaches_it(web, nodes):
    """CLUSTER-IP:8080 leads to a Pod's port 80 from each node and from a Pod."""
    for place in (*nodes, web.client):
        replies = place.web(web.service.url, times=5)

        assert replies.ok, f"the Service does not answer {place.name}: {replies}"
        assert set(replies.pods) <= web.pod_names, f"{place.name} was answered by a stranger"

    assert web.service.port() == 8080, "the Service's port is another one"
    assert web.client.tcp(web.pods[0].ip, 80).ok, "the Pod does not listen on its targetPort"
    assert web.client.tcp(web.pods[0].ip, 8080).error == "refused", "the Pod listens on 80 only"


@claim("CIP-07")
def test_only_inside_the_cluster(web, nodes, outside, verdict):
    """The ClusterIP can't be reached from outside, unless somebody there has a route to a node."""
    inside = web.client.get(web.service.url)
    assert inside.status == 200, f"it does not even answer inside: {inside.outcome}"
    without_route = outside.get(web.service.url)
    assert without_route.error in ("unreachable", "timeout"), (
        f"a host outside that was given no route is answered all the same: {without_route.outcome}"
    )

    address = f"{web.service.cluster_ip}/32"
    outside.add_route(address, nodes[0].ip)
    try:
        with_route = outside.web(web.service.url, times=3)
    finally:
        outside.del_route(address)

    if with_route.ok and set(with_route.pods) <= web.pod_names:
        verdict.holds_but("a host outside that routes the address to a node is answered")
    else:
        verdict.holds(f"unreachable outside, with a route to a node too: {with_route.summary()}")


@claim("CIP-11")
def test_no_endpoints_means_refused_at_once(lab, nodes):
    """A Service without endpoints refuses: no answer, but no waiting for one either."""
    lab.apply("nobody.yaml")
    client = lab.client()
    nobody = lab.service("nobody")

    for place in (client, *nodes):
        reply = eventually(
            lambda place=place: place.get(nobody.url, timeout=2.0),
            lambda reply: reply.error == "refused",
            deadline=deadlines.current().service_reachable,
            expecting=f"{nobody} to refuse connections",
            asked_from=place.name,
            tell=lambda reply: reply.outcome,
        )

        assert reply.seconds < 1.0, "refused, but only after the kernel repeated its SYN"


@claim("CIP-13")
def test_several_ports_by_name_over_tcp_and_udp(lab):
    """Each port leads to its own targetPort by name, over its own protocol, whatever the path."""
    lab.apply("ports.yaml")
    client = lab.start_client()
    (pod,) = lab.ready_pods("app=many", 1)
    service = lab.service("many")
    lab.running_pod(client.pod)
    service.programmed({f"{pod.ip}:80", f"{pod.ip}:81", f"{pod.ip}:5300"})
    address = service.cluster_ip

    http, admin = client.web(address, 8080), client.get(f"http://{address}:8081/")
    talk = client.udp(address, 8080, b"hostname")
    assert http.pods == ["many"], f"port http, over TCP: {http}"
    assert admin.text == "admin", f"port admin, over TCP: {admin.outcome}"
    assert talk.pod == "many", f"port talk, over UDP: {talk.outcome}"

    # Layer 4: neither the path nor the Host header has a say in where a connection goes.
    for path, host in (("/", None), ("/hostname", "admin"), ("/no/such/page", "example.test")):
        reply = client.get(f"http://{address}:8081{path}", host=host)
        assert reply.text == "admin", f"{path} with Host {host} led elsewhere"


@claim("CIP-14")
def test_kubectl_shows_labels_selector_and_affinity(web):
    """`get svc --show-labels` and `describe svc` show what the tutorial reads from them."""
    row = web.lab.kubectl("get", "svc", "web", "--show-labels", "--no-headers").split()
    described = dict(
        re.match(r"([^:]+):\s*(.*)", line).groups()
        for line in web.lab.kubectl("describe", "svc", "web").splitlines()
        if ":" in line
    )

    assert row[-1] == "app=web", f"get --show-labels shows {row[-1]}"
    assert described["Name"] == "web"
    assert described["Namespace"] == web.lab.namespace
    assert described["Labels"] == "app=web"
    assert described["Selector"] == "app=web"
    assert described["Type"] == "ClusterIP"
    assert described["IP Family Policy"] == "SingleStack"
    assert described["IP Families"] == "IPv4"
    assert described["IP"] == described["IPs"] == web.service.cluster_ip
    assert described["Port"].split() == ["<unset>", "8080/TCP"]
    assert described["TargetPort"] == "80/TCP"
    assert described["Session Affinity"] == "None"
    shown = {each.strip() for each in described["Endpoints"].split(",")}
    assert shown == {f"{pod.ip}:80" for pod in web.pods}


@claim("CIP-15")
def test_a_pod_reaches_itself_through_its_service(lab):
    """Hairpin: the only member of a Service asks it, and is answered by itself."""
    from servicelab.vantage import PodVantage

    lab.apply("narcissus.yaml")
    (pod,) = lab.ready_pods("app=narcissus", 1)
    service = lab.service("narcissus")
    service.settles_on([pod])
    with PodVantage(lab.cluster.client.configuration, lab.namespace, pod.name, "client") as itself:
        replies = itself.web(service.url, times=5)

    assert replies.pods == ["narcissus"] * 5, f"the Pod asked itself and met {replies}"


def test_a_manifest_that_the_api_refuses_says_why(lab):
    """kubectl's own words reach the reader of a failure."""
    broken = yaml.safe_dump({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "Web"}})

    with pytest.raises(subprocess.CalledProcessError) as refused:
        lab.kubectl("apply", "-f", "-", stdin=broken)

    assert 'The Service "Web" is invalid' in refused.value.stderr
