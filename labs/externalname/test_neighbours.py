"""A name for a Service of another namespace."""

from __future__ import annotations

from servicelab import claim, eventually
from servicelab.verdict import deadlines

URL = "http://external-svc/hostname"


def leads_to(inside, pod):
    """Ask until the name `external-svc` of a namespace leads to a Pod, and to it alone."""
    return eventually(
        lambda: inside.client.resolve("external-svc"),
        lambda reply: reply.addresses == (pod.ip,),
        deadline=deadlines.current().dns_answers,
        expecting=f"external-svc of {inside.lab.namespace} to be Pod {pod.name} ({pod.ip})",
        asked_from=inside.client.name,
        tell=lambda reply: reply.outcome,
    )


@claim("EN-07")
def test_each_namespace_names_the_others_service(neighbours):
    """external-svc of ns1 leads to svc2 of ns2, and that of ns2 to svc1 of ns1."""
    one, two = neighbours.one, neighbours.two
    for here, there, name in ((one, two, "svc2"), (two, one, "svc1")):
        pod = neighbours.web(there)

        leads_to(here, pod)
        (cname,) = here.answer(here.lab.service("external-svc")).data("CNAME")
        reply = here.client.get(URL)

        assert cname == f"{name}.{there.lab.namespace}.svc.cluster.local."
        assert reply.pod == pod.name, f"from {here.client.name}: {reply}"


@claim("EN-08")
def test_the_name_outlives_the_pod(neighbours):
    """The Pod behind it is replaced and has another address: the name leads to the new one."""
    one, two = neighbours.one, neighbours.two
    before = neighbours.web(two)
    leads_to(one, before)
    assert one.client.get(URL).pod == before.name

    two.lab.delete_pod(before, grace_seconds=0)
    after = neighbours.web(two)
    leads_to(one, after)

    assert after.ip != before.ip, "the new Pod has the old one's address"
    reply = one.client.get(URL)
    assert reply.pod == after.name, f"the name leads to {reply}"
