"""Names: what the cluster DNS says of a headless Service, and of the Pods behind it."""

from __future__ import annotations

from servicelab import claim, eventually
from servicelab.observe.endpoints import endpoints
from servicelab.verdict import deadlines

FACES = {f"face-{each}" for each in ("clusterip", "nodeport", "loadbalancer", "externalip")} | {
    "face-headless"
}


def dashed(ip: str) -> str:
    """10.244.2.12 as the cluster DNS writes it into a name."""
    return ip.replace(".", "-")


@claim("HL-02")
def test_the_name_is_every_ready_pod(named):
    """A query returns the address of every ready Pod, and no other."""
    slices_show_the_unready_pod(named.lab, "peers")

    reply = named.names.lists(named.service.dns_name, named.pods, whose="every ready Pod")

    assert len(reply.addresses) == 3, f"an address twice: {reply.addresses}"
    assert {f"{ip}:80" for ip in reply.addresses} == named.service.endpoints()
    assert reply.authoritative, "the answer does not come from the authority"
    assert reply.ttl == 30, f"the TTL is {reply.ttl} s"


@claim("HL-05")
def test_each_pod_has_a_name_made_from_its_address(named, verdict):
    """10-244-2-12.SERVICE.NAMESPACE.svc.cluster.local is 10.244.2.12."""
    names, service = named.names, named.service.dns_name
    for pod in named.pods:
        reply = names.known(f"{dashed(pod.ip)}.{service}")
        assert reply.addresses == [pod.ip], f"the name of {pod.name}: {reply.outcome}"
    # The name is looked up, not computed: an address that no Pod of the Service has has none.
    stranger = names.ask(f"{dashed('192.0.2.9')}.{service}")
    assert stranger.rcode == "NXDOMAIN", f"an address that is not listed: {stranger.outcome}"

    web_0 = named.lab.ready_pods("app=stateful", 2)[0]
    stateful = named.lab.service("stateful").dns_name
    own = names.known(f"web-0.{stateful}")
    assert own.addresses == [web_0.ip], f"web-0: {own.outcome}"
    other = names.ask(f"{dashed(web_0.ip)}.{stateful}")
    if other.addresses == [web_0.ip]:
        verdict.holds("each Pod's, also of one that has a host name in the Service")
    else:
        verdict.holds_but(
            "a Pod with a host name in the Service has that name instead: web-0.stateful is "
            f"{web_0.ip}, {dashed(web_0.ip)}.stateful is {other.outcome}"
        )


@claim("HL-07")
def test_whether_pods_of_a_deployment_have_a_name(named, verdict):
    """Pods of a Deployment have no DNS name, while those of a StatefulSet have."""
    lab, names, service = named.lab, named.names, named.service.dns_name
    for pod in lab.ready_pods("app=stateful", 2):
        reply = names.known(f"{pod.name}.{lab.service('stateful').dns_name}")
        assert reply.addresses == [pod.ip], f"{pod.name} of the StatefulSet: {reply.outcome}"

    names.lists(service, named.pods, whose="every ready Pod")
    own = [pod.name for pod in named.pods if names.ask(f"{pod.name}.{service}").addresses]
    if len(own) == len(named.pods):
        verdict.false(f"each has its own: {own[0]}.{service}")
        return
    assert not own, f"one Pod of the Deployment has a name, another has not: only {own}"

    from_address = [names.ask(f"{dashed(pod.ip)}.{service}") for pod in named.pods]
    solos = lab.ready_pods("app=named", 2)
    given = names.lists(f"solo.{lab.service('named').dns_name}", solos, whose="both Pods")
    if all(reply.addresses for reply in (*from_address, given)):
        verdict.holds_but(
            f"none of their own; each has one from its address ({dashed(named.pods[0].ip)}.peers), "
            "and hostname with subdomain give the Pods of a Deployment one in common "
            f"(solo.named is {len(given.addresses)} Pods)"
        )
    else:
        verdict.holds("neither of their own nor from their addresses")


@claim("HL-08")
def test_the_ptr_of_a_pod_lists_its_services(faces, verdict):
    """The PTR record of a Pod's address lists every Service that selects the Pod."""
    names, (pod,) = faces.names, faces.pods
    # The cluster DNS keeps what it said of an address for 30 s: ask once it knows all of them.
    for face in sorted(FACES):
        names.known(f"{dashed(pod.ip)}.{faces.lab.service(face).dns_name}")

    pointers = names.known(pod.ip, "PTR").data("PTR")

    suffix = f".{faces.lab.namespace}.svc.cluster.local."
    listed = {name.removesuffix(suffix).split(".")[-1] for name in pointers}
    assert listed <= FACES, f"listed, but they don't select the Pod: {sorted(listed - FACES)}"
    said = f"{len(pointers)} PTR records, such as {sorted(pointers)[0].removesuffix(suffix)}"
    if listed == FACES:
        verdict.holds(f"{said}: ClusterIP, NodePort, LoadBalancer, externalIPs and headless")
    else:
        verdict.holds_but(f"{said}: not {', '.join(sorted(FACES - listed))}")


@claim("HL-10")
def test_pods_that_are_not_ready_are_published_on_request(named):
    """publishNotReadyAddresses lists Pods that are not ready; without it they are absent."""
    lab, names = named.lab, named.names
    unready = lab.running_pod("unready")
    assert not unready.ready, "the Pod is ready after all"

    eager = lab.service("eager").dns_name
    names.lists(eager, [*named.pods, unready], whose="every Pod, ready or not")

    slices_show_the_unready_pod(lab, "peers")
    names.lists(named.service.dns_name, named.pods, whose="every ready Pod")
    assert named.client.web(unready.ip, 80).pods == ["unready"], "it could answer"


def slices_show_the_unready_pod(lab, service: str) -> None:
    """Wait until the Pod that is not ready is in the slices: from then on it is left out."""
    eventually(
        lambda: [each.pod for each in endpoints(lab.cluster.client, lab.namespace, service)],
        lambda pods: "unready" in pods,
        deadline=deadlines.current().endpoints_follow,
        expecting=f"the EndpointSlices of {service} to show the Pod that is not ready",
    )
