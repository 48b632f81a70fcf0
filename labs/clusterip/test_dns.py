"""Names: what the cluster DNS answers for a Service, and what a Pod makes of it."""

from __future__ import annotations

from servicelab import claim, eventually
from servicelab.verdict import deadlines

TTL = 30


def cluster_dns(lab) -> str:
    """The address of the kube-dns Service."""
    return str(lab.core.read_namespaced_service("kube-dns", "kube-system").spec.cluster_ip)


def answered(place, name: str, rdtype: str = "A", *, server: str):
    """Ask until the name has an answer: DNS hears of a new Service a moment later."""
    return eventually(
        lambda: place.dns(name, rdtype, server=server),
        lambda reply: bool(reply.answer),
        deadline=deadlines.current().dns_answers,
        expecting=f"the cluster DNS to have {rdtype} records for {name}",
        asked_from=place.name,
        tell=lambda reply: reply.outcome,
    )


@claim("DNS-01")
def test_the_full_name_is_the_cluster_ip(web):
    """SERVICE.NAMESPACE.svc.cluster.local is the ClusterIP, TTL 30, authoritative."""
    reply = answered(web.client, web.service.dns_name, server=cluster_dns(web.lab))

    assert reply.addresses == [web.service.cluster_ip], "the name is not the ClusterIP"
    assert reply.rcode == "NOERROR"
    assert reply.authoritative, "the answer does not come from the authority"
    assert reply.ttl == TTL, f"the TTL is {reply.ttl} s"


@claim("DNS-02")
def test_short_names_work_in_their_own_namespace_only(lab):
    """Full name, svc.ns and short name resolve; from another namespace the short one doesn't."""
    lab.apply("nobody.yaml")
    client, abroad = lab.start_client(), lab.other()
    stranger = abroad.start_client()
    service = lab.service("nobody")
    address = service.cluster_ip
    lab.running_pod(client.pod)
    abroad.running_pod(stranger.pod)
    answered(client, service.dns_name, server=cluster_dns(lab))

    for name in (service.dns_name, f"nobody.{lab.namespace}", "nobody"):
        assert client.resolve(name).addresses == (address,), f"{name} in its own namespace"
    for name in (service.dns_name, f"nobody.{lab.namespace}"):
        assert stranger.resolve(name).addresses == (address,), f"{name} from another namespace"
    short = stranger.resolve("nobody")
    assert short.error == "name", f"the short name, from another namespace: {short.outcome}"


@claim("DNS-03")
def test_a_pods_resolv_conf(web):
    """A Pod asks kube-dns, searches its namespace first, and has ndots:5."""
    lines = [line.split() for line in web.client.read_file("/etc/resolv.conf").splitlines()]
    settings = {words[0]: words[1:] for words in lines if words}

    assert settings.get("nameserver") == [cluster_dns(web.lab)], "the Pod does not ask kube-dns"
    assert settings.get("search", [])[:3] == [
        f"{web.lab.namespace}.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
    ], "other search domains come first"
    assert "ndots:5" in settings.get("options", []), "ndots is another one"


@claim("DNS-04")
def test_the_kube_dns_service_has_three_ports(lab):
    """kube-dns is 53/UDP, 53/TCP and 9153/TCP, and each of them answers."""
    client = lab.client()
    server = cluster_dns(lab)
    row = lab.kubectl("get", "service", "kube-dns", "-n", "kube-system", "--no-headers").split()

    assert sorted(row[4].split(",")) == ["53/TCP", "53/UDP", "9153/TCP"], "kube-dns has other ports"
    for tcp in (False, True):
        answer = client.dns("kubernetes.default.svc.cluster.local", server=server, tcp=tcp)
        assert answer.addresses, f"over {'TCP' if tcp else 'UDP'}: {answer.outcome}"
    assert "coredns_build_info" in client.get(f"http://{server}:9153/metrics").text


@claim("DNS-05")
def test_srv_and_ptr_records(lab):
    """A named port has an SRV record, and the ClusterIP's PTR names the Service."""
    lab.apply("ports.yaml")
    client = lab.client()
    service, server = lab.service("many"), cluster_dns(lab)

    for port, protocol, number in (("http", "tcp", 8080), ("talk", "udp", 8080)):
        srv = answered(client, f"_{port}._{protocol}.{service.dns_name}", "SRV", server=server)
        (record,) = srv.data("SRV")
        assert record.split()[2:] == [str(number), f"{service.dns_name}."], f"port {port}: {record}"
    ptr = answered(client, service.cluster_ip, "PTR", server=server)
    names = [name.rstrip(".") for name in ptr.data("PTR")]
    assert names == [service.dns_name], "the ClusterIP's PTR names another"


@claim("DNS-06")
def test_unknown_is_nxdomain_and_empty_is_not(lab):
    """An unknown Service is NXDOMAIN; one without endpoints has its A record all the same."""
    lab.apply("nobody.yaml")
    client = lab.client()
    server = cluster_dns(lab)

    empty = answered(client, lab.service("nobody").dns_name, server=server)
    unknown = client.dns(f"stranger.{lab.namespace}.svc.cluster.local", server=server)

    assert empty.addresses == [lab.service("nobody").cluster_ip], "the name is not the ClusterIP"
    assert lab.service("nobody").endpoints() == set(), "it has endpoints after all"
    assert (unknown.rcode, unknown.addresses) == ("NXDOMAIN", []), f"unknown: {unknown.outcome}"
