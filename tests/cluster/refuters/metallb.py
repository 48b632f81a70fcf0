"""For each claim of labs/metallb a fault in the cluster under which it does not hold.

`pytest labs/metallb --refute tests/cluster/refuters/metallb.py` runs the lab's tests under these
faults: each of them must fail, and for the reason that is expected here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from servicelab.lab import Fault, Lab
from servicelab.lab.faults import in_documents, in_services, on_nodes
from servicelab.metallb import AddressRange, vip, webhook
from servicelab.metallb.strict_arp import SETTINGS
from servicelab.pins import pins
from servicelab.registry import ensure_registry
from servicelab.verdict.refuter import Refuter

Document = dict[str, Any]


# Faults in what is applied.


def without(kind: str) -> Fault:
    """Apply no object of a kind."""
    return Fault(documents=lambda documents: [each for each in documents if each["kind"] != kind])


def without_the_first_address(pool: Document) -> None:
    """A pool that begins one address later."""
    spec = pool["spec"]
    (first, *_, last) = AddressRange.parse(spec["addresses"][0])
    spec["addresses"] = [f"{first + 1}-{last}"]


def one_address_more(pool: Document) -> None:
    """A pool that ends one address later."""
    spec = pool["spec"]
    whole = AddressRange.parse(spec["addresses"][0])
    spec["addresses"] = [f"{whole.first}-{whole.last + 1}"]


def without_sharing_key(service: Document) -> None:
    """A Service that shares its address with nobody."""
    service["metadata"].get("annotations", {}).pop("metallb.io/allow-shared-ip", None)


def still_strict(lab: Lab, **settings: Any) -> dict[str, Any]:
    """Another scheduler instead, so that there is a change; in the end that of before."""
    return {"scheduler": "" if settings["strict_arp"] else "wrr", "strict_arp": True}


# Faults in what stands there.


def has_web(lab: Lab) -> bool:
    """The Service `web` is there, so something can be done to it."""
    names = {each.metadata.name for each in lab.core.list_namespaced_service(lab.namespace).items}
    return "web" in names


def somebody_gives_an_address(lab: Lab) -> None:
    """A load balancer that nobody knows of says that it serves the Service."""
    if has_web(lab):
        ingress = {"ingress": [{"ip": "192.0.2.7"}]}
        lab.core.patch_namespaced_service_status(
            "web", lab.namespace, {"status": {"loadBalancer": ingress}}
        )


def another_pool(lab: Lab) -> None:
    """Somebody has made a pool for the namespace already."""
    name = f"another-{lab.namespace}"
    pool = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": name},
        "spec": {
            "addresses": ["192.0.2.1-192.0.2.9"],
            "serviceAllocation": {"namespaces": [lab.namespace]},
        },
    }
    webhook.apply(lab.cluster, pool)
    lab.on_close(partial(webhook.delete, lab.cluster, "IPAddressPool", name))


def two_answer_arp(lab: Lab) -> None:
    """A node that does not announce the address answers ARP for it too.

    In ipvs mode every node has the address, and only strictARP keeps this one silent; in the others
    it gets it.
    """
    if not has_web(lab):
        return
    web = lab.service("web")
    address = f"{vip.wait_for_address(web)}/32"
    announcer = vip.wait_for_announcer(web)
    other = next(node.name for node in lab.cluster.nodes if node.name != announcer)
    run = partial(lab.cluster.docker_exec, other)
    if lab.cluster.mode == "ipvs":
        silence, _ = SETTINGS
        before = run("sysctl", "--values", silence).strip()
        run("sysctl", "--write", f"{silence}=0")
        lab.on_close(partial(run, "sysctl", "--write", f"{silence}={before}"))
    else:
        run("ip", "address", "add", address, "dev", "eth0")
        lab.on_close(partial(run, "ip", "address", "del", address, "dev", "eth0"))


def echoed_without_reason(lab: Lab) -> None:
    """Every node answers pings to the address.

    In ipvs mode it has the address, and kube-proxy's refusal is passed over; in the others it takes
    the address for its own, though it stands on no interface.
    """
    if not has_web(lab):
        return
    address = f"{vip.wait_for_address(lab.service('web'))}/32"
    names = [node.name for node in lab.cluster.nodes]
    if lab.cluster.mode != "ipvs":
        on_nodes(lab, names, "route", "local", address, "dev", "lo")
        return
    rule = ("INPUT", "--destination", address, "--protocol", "icmp", "--jump", "ACCEPT")
    for name in names:
        run = partial(lab.cluster.docker_exec, name, "iptables", "--wait")
        run("--insert", *rule)
        lab.on_close(partial(run, "--delete", *rule))


def bound_to_one_node(lab: Lab) -> None:
    """Only one node may announce the pool's addresses."""
    name = f"example-{lab.namespace}"
    selector = {"matchLabels": {"kubernetes.io/hostname": lab.cluster.nodes[-1].name}}
    webhook.apply(
        lab.cluster,
        {
            "apiVersion": "metallb.io/v1beta1",
            "kind": "L2Advertisement",
            "metadata": {"name": name},
            "spec": {
                "ipAddressPools": [f"first-pool-{lab.namespace}"],
                "nodeSelectors": [selector],
            },
        },
    )


def told_to_nobody(advertisement: Document) -> None:
    """An advertisement for a router that is not there."""
    advertisement["spec"]["peers"] = ["nobody"]


def a_registry_that_nobody_pulled_from(
    lab: Lab, *args: str, stdin: str | None
) -> tuple[list[str], str | None]:
    """Another registry, with the same images, stands in the place of the one that was asked."""
    if args[0] != "wait":
        return list(args), stdin
    ensure_registry(lab.cluster).remove()
    registry = ensure_registry(lab.cluster)
    for image in pins().metallb_images:
        registry.push(image)
    return list(args), stdin


_ALL = [
    Refuter(
        "LB-01",
        Fault(after_apply=somebody_gives_an_address),
        expects="EXTERNAL-IP to stay <pending>",
        why="A load balancer says that it serves the Service.",
    ),
    Refuter(
        "LB-02",
        Fault(instead={"kubectl": a_registry_that_nobody_pulled_from}),
        expects="never asked there for metallb/",
        why="The images have the registry's name, but no node pulled them from it.",
    ),
    Refuter(
        "LB-03",
        in_documents("IPAddressPool", without_the_first_address),
        expects="to be given the address",
        why="The pool does not have the address that it should begin with.",
    ),
    Refuter(
        "LB-04",
        Fault(after_apply=two_answer_arp),
        expects="ARP for it is answered by 2",
        why="A second node has the address and does not keep silent about it.",
    ),
    Refuter(
        "LB-05",
        Fault(after_apply=echoed_without_reason),
        expects="have the address on an interface",
        why="Whether a node answers does not hang on whether an interface has the address.",
    ),
    Refuter(
        "LB-07",
        Fault(after_apply=bound_to_one_node),
        expects="to answer again after",
        why="No other node may announce the address.",
    ),
    Refuter(
        "LB-08",
        in_documents("IPAddressPool", one_address_more),
        expects="/late to stay pending, with an event",
        why="The pool has an address for the second Service too.",
    ),
    Refuter(
        "LB-09",
        Fault(after_apply=another_pool),
        expects="/web to stay pending",
        why="A pool that is not the ConfigMap's serves the Service.",
    ),
    Refuter(
        "LB-10",
        in_documents("Service", without_sharing_key),
        expects="to be given the address",
        why="Without a sharing key the second Service may not have the first one's address.",
    ),
    Refuter(
        "LB-11",
        in_documents("BGPAdvertisement", told_to_nobody),
        expects="last saw   no route",
        why="The speakers have a session with the router, and tell it nothing.",
    ),
    Refuter(
        "LB-12",
        in_services(allocateLoadBalancerNodePorts=False),
        expects="the LoadBalancer Service has no node port",
        why="The Service asks for no node port.",
    ),
    Refuter(
        "LB-06",
        Fault(instead={"switch": still_strict}),
        expects="every node to answer ARP",
        why="strictARP stays, although kube-proxy starts anew.",
    ),
    Refuter(
        "LB-13",
        without("L2Advertisement"),
        expects="to answer",
        why="The address is given but announced by nobody, as without a cloud's own network.",
        layer="metallb",
    ),
]

REFUTERS = {refuter.claim: refuter for refuter in _ALL}
