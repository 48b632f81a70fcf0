"""An ExternalName Service: what it has, what it ignores, and what it leaves no trace of."""

from __future__ import annotations

import pytest
from kubernetes.client.exceptions import ApiException

from servicelab import claim, eventually
from servicelab.lab.manifests import read_manifest
from servicelab.verdict import deadlines

SITE = "www.example.com"
RULES = {
    "iptables": ("iptables-save",),
    "nftables": ("nft", "list", "ruleset"),
    "ipvs": ("iptables-save",),
}


@claim("EN-01")
def test_it_has_a_name_and_no_address(site):
    """No ClusterIP, no endpoints; `get` shows the external name, `describe` it and no IP."""
    service = site.lab.service("site")
    spec = service.read().spec

    assert not spec.cluster_ip, f"it has the ClusterIP {spec.cluster_ip}"
    assert (spec.type, spec.external_name) == ("ExternalName", SITE)
    assert service.slices() == [], "it has EndpointSlices"
    header, row = (line.split() for line in site.lab.kubectl("get", "svc", "site").splitlines())
    shown = dict(zip(header, row, strict=True))
    assert shown["TYPE"] == "ExternalName"
    assert (shown["CLUSTER-IP"], shown["EXTERNAL-IP"]) == ("<none>", SITE)
    lines = [
        line.split(":", 1) for line in site.lab.kubectl("describe", "svc", "site").splitlines()
    ]
    described = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    assert described["External Name"] == SITE
    assert described.get("IP", "") in ("", "<none>"), f"describe shows the IP {described['IP']}"
    assert described.get("Endpoints", "<none>") in ("", "<none>"), "describe shows endpoints"


@claim("EN-03")
def test_selector_and_ports_change_nothing(inside):
    """The imperative command, a selector, an empty one, and ports: all accepted, to no effect."""
    lab = inside.lab
    lab.apply("site.yaml", "ports.yaml", "stray.yaml")
    printed = lab.kubectl("create", "service", "externalname", "typed", f"--external-name={SITE}")
    names = ("typed", "stray", "empty", "ported")
    # Endpoints of a Service that does select it say that the controller has seen the Pod.
    lab.service("ordinary").follows(lab.ready_pods("app=bystander", 1))

    assert printed == "service/typed created\n"
    specs = {name: lab.service(name).read().spec for name in names}
    assert specs["stray"].selector == {"app": "bystander"}
    assert specs["typed"].selector == {"app": "typed"}, "kubectl itself gives it another selector"
    assert not specs["empty"].selector
    assert [port.port for port in specs["ported"].ports] == [8080]
    plain = led_to(inside.answer(lab.service("site")))
    for name in names:
        service = lab.service(name)
        assert service.slices() == [], f"{name} has EndpointSlices"
        assert led_to(inside.answer(service)) == plain, f"{name} leads elsewhere than site"


@claim("EN-06")
def test_its_ports_map_nothing(inside, world, verdict):
    """Ports are accepted and ignored: the client's port is used as it is."""
    lab = inside.lab
    lab.apply("ports.yaml")
    service = lab.service("ported")
    inside.answer(service)

    at_80, at_8080 = (
        inside.client.get(f"http://{service.dns_name}:{port}/hostname", host=SITE)
        for port in (80, 8080)
    )
    srv = inside.client.dns(f"_http._tcp.{service.dns_name}", "SRV", server=inside.dns)

    if at_8080.ok:
        verdict.holds(f"port 8080 of the Service led to port 80 of {at_8080.pod}")
        return
    assert [(port.port, port.target_port) for port in service.read().spec.ports] == [(8080, 80)]
    assert at_80.pod in world.sites.servers_of(SITE), f"port 80 gave {at_80.outcome}"
    assert at_8080.error == "refused", f"port 8080 gave {at_8080.outcome}"
    assert not srv.answer, f"the port has a record: {srv.outcome}"
    verdict.false(
        "port: 8080 with targetPort: 80 is accepted; asked at 80 the site answers, at 8080 it "
        "refuses, because nobody translates"
    )


@claim("EN-10")
def test_kube_proxy_has_no_rule_for_it(lab, cluster):
    """No node's kernel has a rule for it, while it has some for a Service made after it."""
    lab.apply("ports.yaml")
    lab.apply_documents([ordinary("later")])
    eventually(
        lambda: lab.rules("later"),
        lambda rules: all(rules.values()),
        deadline=deadlines.current().rules_programmed,
        expecting="every node to have rules for the Service that was made later",
    )

    for node, rules in lab.rules("ported").items():
        assert not rules, f"{node} has rules for it: {rules}"
        printed = cluster.docker_exec(node, *RULES[cluster.mode])
        assert f"{lab.namespace}/ported" not in printed, f"{node} mentions it"
        assert f"{lab.namespace}/later" in printed or cluster.mode == "ipvs"


@claim("EN-11")
def test_an_address_is_taken_for_a_name(inside, world, verdict):
    """An IP address is accepted as externalName, as a name: it does not resolve. A URL is not."""
    lab = inside.lab
    address = world.servers["edge-1"]
    (number,) = read_manifest(lab.folder / "number.yaml")
    number["spec"]["externalName"] = address
    lab.apply_documents([number])
    lab.apply("site.yaml")
    inside.answer(lab.service("site"))  # so DNS has heard of the one made before it as well

    service = lab.service("number")
    reply = inside.client.dns(service.dns_name, server=inside.dns)
    resolved = inside.client.resolve(service.name)

    if resolved.ok:
        verdict.holds(f"the name resolves to {' and '.join(resolved.addresses)}")
        return
    assert service.read().spec.external_name == address
    assert (reply.rcode, reply.answer) == ("NXDOMAIN", ()), f"the name gave {reply.outcome}"
    assert inside.client.get(f"http://{address}/hostname", host=SITE).ok, "nobody is there at all"
    number["spec"]["externalName"] = f"http://{SITE}"
    with pytest.raises(ApiException, match="RFC 1123 subdomain"):
        lab.apply_documents([number])
    verdict.false(
        f"the API accepts the address of a server that answers, and the name is {reply.rcode}"
    )


def led_to(reply) -> set[tuple[str, str, str]]:
    """The records that a Service's answer has behind its own CNAME."""
    own, *rest = reply.answer
    return {(own.data, "", ""), *((each.name, each.rdtype, each.data) for each in rest)}


def ordinary(name: str) -> dict:
    """A ClusterIP Service without endpoints."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}]},
    }
