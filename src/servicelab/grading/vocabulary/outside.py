"""Words about clients outside the cluster: node ports, load balancers, whose address is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servicelab.grading.found import Found
from servicelab.grading.vocabulary.wording import counted, listed, whose

if TYPE_CHECKING:
    from servicelab.grading.scene import Scene
    from servicelab.lab import Service
    from servicelab.vantage import HttpReply, Replies

_PATIENCE = 1.2
_TIMES = 4


def node_port(scene: Scene, *, service: str, of: str, number: int | None = None) -> Found:
    """From outside, every node's address leads to a workload's Pods at the node port.

    Args:
        scene: where to look.
        service: the Service.
        of: the workload.
        number: the node port; None for the one that the Service has.
    """
    found = scene.service(service)
    port = number or found.node_port
    expected = f"every node leads to {whose(of)} at port {number or 'that the Service was given'}"
    if port is None:
        return Found(
            False, expected, "the Service has no node port", "no port is open on the nodes for it"
        )
    names = {pod.name for pod in scene.pods(of)}

    def look() -> dict[str, HttpReply]:
        return {
            node.name: scene.outside.get(node.url(port, "/hostname"), timeout=_PATIENCE)
            for node in scene.nodes
        }

    sight = scene.until(
        look,
        lambda seen: bool(names) and all(reply.pod in names for reply in seen.values()),
        expecting=f"port {port} of every node to be answered by {whose(of)}",
        tell=_by_node,
    )
    if sight.satisfied:
        return Found(True, expected, _by_node(sight.seen))
    silent = {node for node, reply in sight.seen.items() if reply.pod not in names}
    why = f"port {port} does not lead there on {counted(len(silent), 'node')}"
    own = found.node_port
    if number and own != number:
        why += f"; the Service's node port is {own or 'none'}"
    return Found(False, expected, _by_node(sight.seen), why, sight.waited_for)


def keeps_client_address(scene: Scene, *, service: str, of: str) -> Found:
    """From outside, wherever the node port answers, the Pod sees the client's own address.

    Args:
        scene: where to look.
        service: the Service.
        of: its Pods; each node that runs one must answer.
    """
    found = scene.service(service)
    port = found.node_port
    client = scene.outside.ip
    expected = "Pods see the address of the client outside, on each node that runs one of them"
    if port is None:
        return Found(
            False, expected, "the Service has no node port", "no port is open on the nodes for it"
        )
    pods = scene.pods(of)
    homes = {pod.node for pod in pods}
    names = {pod.name for pod in pods}

    def look() -> dict[str, Replies[Any]]:
        return {
            node.name: scene.outside.web(
                node.url(port), times=_TIMES, timeout=_PATIENCE, workers=_TIMES
            )
            for node in scene.nodes
        }

    def kept(seen: dict[str, Replies[Any]]) -> bool:
        at_home = [replies for node, replies in seen.items() if node in homes]
        return (
            bool(at_home)
            and all(replies.ok and set(replies.pods) <= names for replies in at_home)
            and all(set(replies.client_ips) <= {client} for replies in seen.values())
        )

    def tell(seen: dict[str, Replies[Any]]) -> str:
        return "; ".join(
            f"{node}: {_client(replies, client)}" for node, replies in sorted(seen.items())
        )

    sight = scene.until(
        look, kept, expecting=f"Pods behind {found} to see the client's address", tell=tell
    )
    if sight.satisfied:
        return Found(True, expected, tell(sight.seen))
    hidden = [node for node, replies in sight.seen.items() if set(replies.client_ips) - {client}]
    silent = [node for node, replies in sight.seen.items() if node in homes and not replies.ok]
    if hidden:
        why = f"through {listed(hidden)} the Pods saw another address than the client's"
    elif silent:
        why = f"{listed(silent)} runs a Pod, and does not answer"
    else:
        why = "somebody else answered"
    return Found(False, expected, tell(sight.seen), why, sight.waited_for)


def external_address(scene: Scene, *, service: str) -> Found:
    """A load balancer has given the Service an address of one of the exercise's pools.

    Args:
        scene: where to look.
        service: the Service.
    """
    return _given(scene, scene.service(service))[1]


def answers_outside(scene: Scene, *, service: str, port: int, of: str) -> Found:
    """At its external address, the Service leads clients outside to a workload's Pods.

    Args:
        scene: where to look.
        service: the Service.
        port: its port.
        of: its Pods.
    """
    found = scene.service(service)
    ips, given = _given(scene, found)
    if not given.met:
        return given
    expected = f"port {port} of the address leads clients outside to {whose(of)}"
    names = {pod.name for pod in scene.pods(of)}
    # Who had this address before may still be in the neighbours' table.
    scene.outside.forget_neighbours()
    sight = scene.until(
        lambda: scene.outside.get(f"http://{ips[0]}:{port}/hostname", timeout=_PATIENCE),
        lambda reply: reply.pod in names,
        expecting=f"{found} to answer outside at {ips[0]}, port {port}",
        tell=lambda reply: reply.pod or reply.outcome,
    )
    actual = f"at its address: {sight.seen.pod or sight.seen.outcome}"
    if sight.satisfied:
        return Found(True, expected, actual)
    if sight.seen.error in ("timeout", "unreachable"):
        why = "nobody outside gets an answer at the address"
    else:
        why = f"port {port} of the address does not lead to {whose(of)}"
    return Found(False, expected, actual, why, sight.waited_for)


def _given(scene: Scene, service: Service) -> tuple[tuple[str, ...], Found]:
    from servicelab.metallb import vip

    pool = {address for pool in scene.pools for address in pool.addresses}
    expected = f"a load balancer gives Service {service.name} an address of its pool"
    sight = scene.until(
        lambda: vip.external_ips(service),
        lambda ips: bool(ips) and set(ips) <= pool,
        expecting=f"{service} to be given an address of the pool",
        tell=lambda ips: ", ".join(ips) or "<pending>",
    )
    actual = f"EXTERNAL-IP {', '.join(sight.seen) or '<none>'}"
    why = "" if sight.satisfied else "the Service has no address for clients outside"
    return sight.seen, Found(sight.satisfied, expected, actual, why, sight.waited_for)


def _by_node(seen: dict[str, HttpReply]) -> str:
    return "; ".join(
        f"{node}: {reply.pod or reply.outcome}" for node, reply in sorted(seen.items())
    )


def _client(replies: Replies[Any], client: str) -> str:
    if not replies.client_ips:
        return str(replies)
    own = sum(ip == client for ip in replies.client_ips)
    return f"{own} of {counted(len(replies.client_ips), 'answer')} with the client's address"
