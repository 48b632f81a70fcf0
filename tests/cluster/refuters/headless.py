"""For each claim of labs/headless a fault in the cluster under which it does not hold.

`pytest labs/headless --refute tests/cluster/refuters/headless.py` runs the lab's tests under
these faults: each of them must fail, and for the reason that is expected here.
"""

from __future__ import annotations

from typing import Any

from servicelab.lab import Lab
from servicelab.lab.faults import frozen, in_documents, in_services, once
from servicelab.verdict.refuter import Refuter

Document = dict[str, Any]
NOBODY = "192.0.2.9"  # of TEST-NET-1, which is nobody's


# Faults in what is applied.


def with_an_address(service: Document) -> None:
    """Leave `clusterIP: None` out."""
    service["spec"].pop("clusterIP", None)


def host_names(deployment: Document) -> None:
    """Give the Pods of peers a host name in their Service."""
    if deployment["metadata"]["name"] == "peers":
        deployment["spec"]["template"]["spec"] |= {"hostname": "one", "subdomain": "peers"}


# Faults in what stands there.


def listed(lab: Lab, service: str, address: str, **fields: Any) -> None:
    """List an address in a Service's endpoints by hand.

    Args:
        lab: where the Service is.
        service: its name.
        address: the address.
        fields: further fields of the endpoint.
    """
    lab.apply_documents(
        [
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{service}-by-hand",
                    "labels": {"kubernetes.io/service-name": service},
                },
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address], **fields}],
            }
        ]
    )


def a_stranger(lab: Lab) -> None:
    """An address that no Pod has is listed too."""
    listed(lab, "peers", NOBODY)


def one_has_a_name(lab: Lab) -> None:
    """One Pod of the Deployment has its own name as its host name in the Service."""
    pod = lab.ready_pods("app=peers,ready=soon", 3)[0]
    listed(lab, "peers", pod.ip, hostname=pod.name)


def a_fifth_wheel(lab: Lab) -> None:
    """A Service that selects nobody has the Pod among its endpoints all the same."""
    (pod,) = lab.ready_pods("app=faces", 1)
    spec = {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}
    body = {"metadata": {"name": "face-stranger"}, "spec": spec}
    lab.core.create_namespaced_service(lab.namespace, body)
    listed(lab, "face-stranger", pod.ip)


def asks_the_cluster_dns(lab: Lab) -> None:
    """The last node's resolv.conf is as a Pod's, until the lab ends."""
    node = lab.cluster.nodes[-1].name
    dns = lab.core.read_namespaced_service("kube-dns", "kube-system").spec.cluster_ip
    before = lab.cluster.docker_exec(node, "cat", "/etc/resolv.conf")

    def write(text: str) -> None:
        # In place: the file is mounted into the node's container, and can't be replaced.
        lab.cluster.docker_exec(node, "tee", "/etc/resolv.conf", input=text)

    lab.on_close(lambda: write(before))
    write(f"nameserver {dns}\nsearch {lab.namespace}.svc.cluster.local\n")


_HAS_AN_ADDRESS = in_documents("Service", with_an_address)

_ALL = [
    Refuter(
        "HL-01",
        _HAS_AN_ADDRESS,
        expects="get svc shows the address 10.",
        why="The Service is an ordinary one.",
    ),
    Refuter(
        "HL-02",
        once(a_stranger),
        expects=f"{NOBODY} is listed too",
        why="A further EndpointSlice of the Service lists an address that no Pod has.",
        layer="endpointslice",
    ),
    Refuter(
        "HL-03",
        _HAS_AN_ADDRESS,
        expects="has a rule for the headless Service",
        why="The Service is an ordinary one.",
    ),
    Refuter(
        "HL-04",
        _HAS_AN_ADDRESS,
        expects="port 8080 of the headless Service: ok",
        why="The Service is an ordinary one, whose port is mapped.",
    ),
    Refuter(
        "HL-05",
        in_documents("Deployment", host_names),
        expects="the cluster DNS to have A records for 10-",
        why="The Pods have a host name in the Service, and none after their addresses.",
    ),
    Refuter(
        "HL-06",
        frozen("stateful", "app=stateful", 2),
        expects="to be the address of the new web-0, and no other",
        why="The endpoints do not follow the Pods any more.",
        layer="selector",
    ),
    Refuter(
        "HL-07",
        once(one_has_a_name),
        expects="one Pod of the Deployment has a name, another has not",
        why="A further EndpointSlice gives one of the Pods its name.",
    ),
    Refuter(
        "HL-08",
        once(a_fifth_wheel),
        expects="listed, but they don't select the Pod: ['face-stranger']",
        why="A Service that selects nobody lists the Pod.",
    ),
    Refuter(
        "HL-09",
        once(asks_the_cluster_dns),
        expects="resolves peers: curl ended with 0",
        why="The node asks the cluster DNS, and searches the namespace.",
    ),
    Refuter(
        "HL-10",
        in_services(publishNotReadyAddresses=False),
        expects="unready (10.",
        why="No Service publishes Pods that are not ready.",
    ),
    Refuter(
        "HL-11",
        in_services(publishNotReadyAddresses=True),
        expects="is still listed",
        why="Pods that are not ready stay in the answers.",
    ),
]

REFUTERS = {refuter.claim: refuter for refuter in _ALL}
