"""For each claim of labs/nodeport a fault in the cluster under which it does not hold.

`pytest labs/nodeport --refute tests/cluster/refuters/nodeport.py` runs the lab's tests under these
faults: each of them must fail, and for the reason that is expected here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from servicelab.lab import Fault, Lab
from servicelab.lab.faults import in_clients, in_documents, in_services, patches, together
from servicelab.pins import pins
from servicelab.verdict.refuter import Refuter

Document = dict[str, Any]
LOCAL_ONLY = {"externalTrafficPolicy": "Local"}


# Faults in what is applied.


def any_number(service: Document) -> None:
    """Leave the choice of the node port to the API server."""
    for port in service["spec"]["ports"]:
        port.pop("nodePort", None)


def without_a_node_port(service: Document) -> None:
    """Make it a ClusterIP Service."""
    service["spec"]["type"] = "ClusterIP"
    any_number(service)


# Faults in what stands there.


def a_listener_on_the_control_plane(lab: Lab) -> None:
    """A program on one node listens on the port that the Service `picked` has."""
    port = lab.service("picked").node_port
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "squatter"},
        "spec": {
            "hostNetwork": True,
            "nodeName": lab.cluster.nodes[0].name,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "squatter",
                    "image": pins().agnhost_image,
                    "args": ["netexec", f"--http-port={port}", "--udp-port=-1"],
                    "readinessProbe": {"httpGet": {"path": "/", "port": port}, "periodSeconds": 1},
                }
            ],
        },
    }
    lab.core.create_namespaced_pod(lab.namespace, pod)
    lab.running_pod("squatter")


def loopback_differs(lab: Lab) -> None:
    """On one node 127.0.0.1 answers where it would not, and does not where it would."""
    node = lab.cluster.nodes[0].name
    if lab.cluster.mode != "iptables":
        a_listener_on_the_control_plane(lab)
        return
    setting = "/proc/sys/net/ipv4/conf/all/route_localnet"
    put = partial(lab.cluster.docker_exec, node, "tee", setting)
    put(input="0\n")
    lab.on_close(lambda: put(input="1\n"))


def a_stranger_takes_the_old_number(lab: Lab) -> None:
    """As soon as 30002 is free, another Service has it, for the same Pods."""
    services = lab.core.list_namespaced_service(lab.namespace).items
    if all(each.spec.ports[0].node_port != 30003 for each in services):
        return
    spec = {
        "type": "NodePort",
        "selector": {"app": "web"},
        "ports": [{"port": 80, "nodePort": 30002}],
    }
    body = {"metadata": {"name": "stranger"}, "spec": spec}
    lab.core.create_namespaced_service(lab.namespace, body)
    # Else a node would refuse the number for the moment between the rules of the two.
    lab.service("stranger").settles_on(lab.pods("app=web"))


def once_picked(act: Callable[[Lab], None]) -> Fault:
    """Do something as soon as a namespace has the Service `picked`."""
    done: set[str] = set()

    def look(lab: Lab) -> None:
        listed = lab.core.list_namespaced_service(lab.namespace).items
        if lab.namespace not in done and "picked" in {each.metadata.name for each in listed}:
            done.add(lab.namespace)
            act(lab)

    return Fault(after_apply=look)


# Faults in what a verb does.


def reads_instead(manifest: str) -> Fault:
    """kubectl reads another manifest than it is told to."""

    def kubectl(lab: Lab, *args: str, stdin: str | None) -> tuple[list[str], str | None]:
        other = [str(lab.folder / manifest) if arg.endswith("beyond.yaml") else arg for arg in args]
        return other, stdin

    return Fault(instead={"kubectl": kubectl})


def widens_less(lab: Lab, **flags: str) -> dict[str, str]:
    """The range ends before 33333."""
    return {"service_node_port_range": "30000-33000"}


def keeps_the_policy(lab: Lab, service: str, spec: dict[str, Any]) -> None:
    """The traffic policy stays as it is."""
    spec.pop("externalTrafficPolicy")


_PODS_OF_WEB = [
    {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
]
_WITH_A_POD = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _PODS_OF_WEB}}
_WITHOUT_ONE = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _PODS_OF_WEB}}


def apart(deployment: Document) -> None:
    """Run each Pod on a node of its own."""
    deployment["spec"]["template"]["spec"]["affinity"] = _WITHOUT_ONE


# A node's clients get Pods of that node only; there is one for ours, since in ipvs mode a node
# without a Pod leads its clients to all of them, whatever the policy is.
_NEAR_PODS_FOR_ALL = together(
    in_documents("Deployment", apart),
    in_clients(affinity=_WITH_A_POD),
    in_services(internalTrafficPolicy="Local"),
)

_ALL = [
    Refuter(
        "NP-01",
        in_services(**LOCAL_ONLY),
        expects="without a Pod, does not answer: timeout",
        why="A node without a Pod of the Service drops what comes from outside.",
    ),
    Refuter(
        "NP-02",
        in_documents("Service", without_a_node_port),
        expects="the API server picked no number",
        why="The Service is of type ClusterIP.",
    ),
    Refuter(
        "NP-03",
        in_documents("Service", any_number),
        expects="asked for 30000, got 3",
        why="The number does not reach the API server, which picks another one.",
    ),
    Refuter(
        "NP-04",
        reads_instead("picked.yaml"),
        expects="beyond.yaml was not refused",
        why="The number does not reach the API server, which picks one in the range.",
    ),
    Refuter(
        "NP-05",
        Fault(instead={"api_server_flags": widens_less}),
        expects="The range of valid ports is 30000-33000",
        why="The API server is restarted with a range that ends before 33333.",
    ),
    Refuter(
        "NP-06",
        in_documents("Service", any_number),
        expects="fixed.yaml was not refused",
        why="The first Service has another number, so the second one can have this one.",
    ),
    Refuter(
        "NP-07",
        once_picked(a_listener_on_the_control_plane),
        expects="somebody else listens on the port, on ",
        why="A program of the control-plane node listens on the node port.",
    ),
    Refuter(
        "NP-08",
        _NEAR_PODS_FOR_ALL,
        expects="they lead elsewhere on ",
        why="The ClusterIP leads to a node's own Pods only, the node port to all.",
    ),
    Refuter(
        "NP-09",
        patches(keeps_the_policy),
        expects="each node's node port to lead to its own Pods only",
        why="The policy stays Cluster.",
    ),
    Refuter(
        "NP-10",
        once_picked(loopback_differs),
        expects="127.0.0.1 answers on some nodes only",
        why="One node treats traffic from itself to 127.0.0.1 unlike the others.",
    ),
    Refuter(
        "NP-11",
        Fault(after_apply=a_stranger_takes_the_old_number),
        expects="to refuse the old number 30002",
        why="Another Service has the old number at once, and answers on it.",
    ),
]

REFUTERS = {refuter.claim: refuter for refuter in _ALL}
