"""For each claim of labs/externalname a fault in the cluster under which it does not hold.

`pytest labs/externalname --refute tests/cluster/refuters/externalname.py` runs the lab's tests
under these faults: each of them must fail, and for the reason that is expected here.
"""

from __future__ import annotations

from typing import Any

from servicelab.lab import Fault, Lab
from servicelab.lab.faults import in_documents, in_services, on_nodes, once, patches
from servicelab.verdict.refuter import Refuter

Document = dict[str, Any]
SITE = "www.example.com"
CLUSTER_DNS = "10.96.0.10"


# Faults in what is applied.


def with_address(service: Document) -> None:
    """Make it a ClusterIP Service."""
    spec = service["spec"]
    if spec.pop("externalName", None):
        spec |= {"type": "ClusterIP", "ports": spec.get("ports") or [{"port": 80}]}


def with_address_if_stray(service: Document) -> None:
    """Make the one with a selector a ClusterIP Service."""
    if service["metadata"]["name"] == "stray":
        with_address(service)


def astray(service: Document) -> None:
    """Let the name for svc1 stand for another one."""
    spec = service["spec"]
    if spec.get("externalName", "").startswith("svc1."):
        spec["externalName"] = spec["externalName"].replace("svc1.", "kubernetes.")


def as_endpoint(documents: list[Document]) -> list[Document]:
    """Make the address that stands as a name an endpoint of a headless Service of that name."""
    found = []
    for document in documents:
        address = document["spec"].get("externalName", "")
        if document["metadata"]["name"] != "number":
            found.append(document)
            continue
        document["spec"] = {"clusterIP": "None", "ports": [{"port": 80}]}
        found += [document, endpoint("number", address)]
    return found


def endpoint(service: str, address: str) -> Document:
    """An EndpointSlice with one address, port 80."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]}],
    }


# Faults in what stands there.


def no_way_out() -> Fault:
    """The client's node has no route for it to the site's addresses."""
    done: set[str] = set()

    def act(lab: Lab) -> None:
        listed = lab.core.list_namespaced_pod(lab.namespace).items
        if lab.namespace in done or "client" not in [pod.metadata.name for pod in listed]:
            return
        done.add(lab.namespace)
        client = lab.running_pod("client")
        for address in addresses_of(lab, SITE):
            # Of this client only: other tests may run at the same time.
            on_nodes(lab, [client.node], "rule", "from", client.ip, "to", address, "unreachable")

    return Fault(after_apply=act)


def translated(lab: Lab) -> None:
    """The Service `ported` is one that kube-proxy maps: 8080 to port 80 of the site."""
    listed = lab.core.list_namespaced_service(lab.namespace).items
    if ("ported", "ExternalName") not in [(each.metadata.name, each.spec.type) for each in listed]:
        return
    spec = {"type": "ClusterIP", "externalName": None}
    lab.core.patch_namespaced_service("ported", lab.namespace, {"spec": spec})
    (address, *_) = addresses_of(lab, SITE)
    lab.discovery.create_namespaced_endpoint_slice(lab.namespace, endpoint("ported", address))
    lab.service("ported").programmed([f"{address}:80"])


def addresses_of(lab: Lab, name: str) -> list[str]:
    """What the cluster DNS says of a name."""
    return lab.cluster.node_vantages[0].dns(name, server=CLUSTER_DNS).addresses


def frozen_neighbour(lab: Lab) -> None:
    """Nobody keeps the endpoints of svc2 any more, as soon as they list its first Pod."""
    names = [each.metadata.name for each in lab.core.list_namespaced_service(lab.namespace).items]
    if "svc2" in names:
        lab.service("svc2").follows(lab.ready_pods("app=web", 1))
        lab.core.patch_namespaced_service("svc2", lab.namespace, {"spec": {"selector": None}})


# Faults in what a verb does.


def stays_outside(lab: Lab, service: str, spec: dict[str, Any]) -> None:
    """The Service stays as it is."""
    spec.clear()


_ALL = [
    Refuter(
        "EN-01",
        in_documents("Service", with_address),
        expects="it has the ClusterIP",
        why="The Service is of type ClusterIP.",
    ),
    Refuter(
        "EN-02",
        in_services(externalName="docs.example.com"),
        expects="the name stands for docs.example.com.",
        why="The Service names another site.",
    ),
    Refuter(
        "EN-03",
        in_documents("Service", with_address_if_stray),
        expects="stray has EndpointSlices",
        why="The Service with a selector is of type ClusterIP, so its selector counts.",
    ),
    Refuter(
        "EN-04",
        no_way_out(),
        expects="with the site's own Host: unreachable",
        why="No node has a way to the server outside.",
    ),
    Refuter(
        "EN-05",
        no_way_out(),
        expects="the ping of site met unreachable",
        why="No node has a way to the server outside.",
    ),
    Refuter(
        "EN-06",
        Fault(after_apply=translated),
        expects="port 8080 of the Service led to port 80",
        why="The Service has an address, and kube-proxy maps its port.",
    ),
    Refuter(
        "EN-07",
        in_documents("Service", astray),
        expects="external-svc of",
        why="The name in ns2 stands for a Service that ns1 does not have.",
    ),
    Refuter(
        "EN-08",
        once(frozen_neighbour),
        expects="external-svc of",
        why="The endpoints of the Service that it names stay with the Pod that is gone.",
    ),
    Refuter(
        "EN-09",
        patches(stays_outside),
        expects="the client to be answered by shop-",
        why="The type is not changed.",
    ),
    Refuter(
        "EN-10",
        in_documents("Service", with_address),
        expects="has rules for it",
        why="The Service is of type ClusterIP.",
    ),
    Refuter(
        "EN-11",
        Fault(documents=as_endpoint),
        expects="the name resolves to",
        why="The address is an endpoint of a headless Service of that name.",
    ),
]

REFUTERS = {refuter.claim: refuter for refuter in _ALL}
