"""Session affinity: one client address, one Pod."""

from __future__ import annotations

import math
import time
from ipaddress import IPv4Address

import pytest

from servicelab import claim, eventually
from servicelab.observe.ipvs import IPVS_CONNECTIONS
from servicelab.verdict import deadlines, statistics, wait_out

STICKY = statistics.equal_answers_for_affinity(3)
TO_SEE_ALL_OF_3 = statistics.requests_to_see_all(3)
CLIENTS = 3
#: In each Service all clients but the first agree with it by luck: STICKY equal answers together.
SERVICES = math.ceil((STICKY - 1) / (CLIENTS - 1))


def make_sticky(web, seconds: int = 10800) -> None:
    """Patch the affinity, as the tutorial does, and wait until every node's rules have it."""
    web.lab.patch_service(
        "web",
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": seconds}},
    )
    affinity_is(web, seconds)


def affinity_is(web, seconds: int | None) -> None:
    """Wait until the rules of every node have this affinity, in seconds, or none."""
    eventually(
        lambda: {
            node: {rule.affinity_seconds for rule in rules}
            for node, rules in web.lab.rules("web").items()
        },
        lambda seen: all(found == {seconds} for found in seen.values()),
        deadline=deadlines.current().rules_programmed,
        expecting=f"the rules of every node to have the affinity {seconds}",
    )


def sticky_services(lab, count: int):
    """Make Services with affinity in front of the same Pods."""
    spec = {
        "selector": {"app": "web"},
        "sessionAffinity": "ClientIP",
        "ports": [{"port": 8080, "targetPort": 80}],
    }
    names = [f"sticky-{number}" for number in range(count)]
    lab.apply_documents(
        [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
            for name in names
        ]
    )
    return [lab.service(name) for name in names]


def the_pod_of(client, service) -> str:
    """The Pod that a client sticks to."""
    replies = client.web(service.url, times=3)
    assert replies.ok, f"{service} does not answer {client.name}: {replies}"
    assert len(set(replies.pods)) == 1, f"not sticky: {client.name} got {replies}"
    return replies.pods[0]


@claim("AFF-01")
def test_one_client_always_gets_one_pod(own_web):
    """With sessionAffinity ClientIP, a client's connections all go to one Pod."""
    make_sticky(own_web)

    replies = own_web.client.web(own_web.service.url, times=STICKY)

    assert replies.ok, replies.summary()
    assert len(set(replies.pods)) == 1, f"not sticky: {replies.counts()}"


@claim("AFF-02")
def test_another_client_may_get_another_pod(lab):
    """Affinity is by client address: not in every Service do all clients stick to one Pod."""
    lab.apply("web.yaml")
    # All on one node: affinity is kept in a node's kernel, and it is the address that must decide.
    node = lab.cluster.nodes[-1].name
    clients = [lab.start_client(f"client-{number}", node=node) for number in range(CLIENTS)]
    services = sticky_services(lab, SERVICES)
    pods = lab.ready_pods("app=web", 3)
    for service in services:
        service.settles_on(pods)
    for client in clients:
        lab.running_pod(client.pod)

    # By luck the clients agree in one Service, but in all of them with less than 1e-9.
    chosen = [[the_pod_of(client, service) for client in clients] for service in services]

    assert any(len(set(pods)) > 1 for pods in chosen), (
        f"in each of {SERVICES} Services the {CLIENTS} clients have one Pod in common"
    )


@claim("AFF-03")
def test_without_affinity_the_spreading_returns(own_web):
    """Patched back to None, one client's connections reach every Pod again."""
    make_sticky(own_web)
    stuck = own_web.client.web(own_web.service.url, times=STICKY)
    assert len(set(stuck.pods)) == 1, f"not sticky: {stuck.counts()}"

    own_web.lab.patch_service("web", sessionAffinity="None", sessionAffinityConfig=None)

    affinity_is(own_web, None)
    replies = own_web.client.web(own_web.service.url, times=TO_SEE_ALL_OF_3)
    assert set(replies.pods) == own_web.pod_names, f"not spread: {replies.counts()}"


def silent_until_forgotten(web) -> float:
    """In IPVS mode, ask nothing until the client's node forgets it for the Service; seconds."""
    pod = web.lab.running_pod(web.client.pod)
    client, address = (f"{int(IPv4Address(ip)):08X}" for ip in (pod.ip, web.service.cluster_ip))

    def remembered() -> list[str]:
        table = web.lab.cluster.docker_exec(pod.node, *IPVS_CONNECTIONS)
        return [line for line in table.splitlines() if line.split()[1:4:2] == [client, address]]

    began = time.monotonic()
    eventually(
        remembered,
        lambda lines: not lines,
        deadline=deadlines.current().affinity_forgotten,
        expecting=f"ip_vs on {pod.node} to forget that {web.client.name} asked {web.service}",
        every=2.0,
    )
    return time.monotonic() - began


@claim("AFF-04")
@pytest.mark.slow
def test_affinity_lets_go_after_its_timeout(own_web, proxy_mode, verdict):
    """The default is 10800 s; with 2 s, a client that was silent for longer may get another Pod."""
    own_web.lab.patch_service("web", sessionAffinity="ClientIP")
    default = own_web.service.read().spec.session_affinity_config.client_ip.timeout_seconds
    assert default == 10800, f"the default is {default} s"

    make_sticky(own_web, seconds=2)
    asked = own_web.client.web(own_web.service.url, times=STICKY)
    assert len(set(asked.pods)) == 1, f"not sticky: {asked.counts()}"

    # One probe after each silence: every probe renews what it finds.
    first = asked.pods[-1]
    for _ in range(STICKY):
        wait_out(3.0, "the affinity time-out of 2 s must pass without a request")
        (now,) = own_web.client.web(own_web.service.url, times=1).pods
        if now != first:
            return
    if proxy_mode == "ipvs":
        # ip_vs holds on to where a client was led as long as it has any connection of the client's.
        silence = silent_until_forgotten(own_web)
        (now,) = own_web.client.web(own_web.service.url, times=1).pods
        if now != first:
            verdict.holds_but(
                f"after {STICKY} silences of 3 s it still stuck to its Pod: ip_vs remembers closed "
                f"connections, and let go after {silence:.0f} s of silence"
            )
            return
    pytest.fail(f"after {STICKY} silences of 3 s it still sticks to {first}")


@claim("AFF-05")
def test_where_affinity_lives_in_the_kernel(own_web, proxy_mode):
    """iptables keeps it in a `recent` list, nftables in a set with a timeout; on every node."""
    own_web.lab.patch_service("web", sessionAffinity="ClientIP")

    where = {"iptables": "recent", "nftables": "set"}[proxy_mode]
    eventually(
        lambda: {
            node: [f"{rule.affinity_by or 'nowhere'} {rule.affinity_seconds}" for rule in rules]
            for node, rules in own_web.lab.rules("web").items()
        },
        lambda seen: all(found == [f"{where} 10800"] for found in seen.values()),
        deadline=deadlines.current().rules_programmed,
        expecting=f"every node's kernel to keep the affinity in a {where} for 10800 s",
    )


@claim("AFF-06")
def test_when_its_pod_dies_the_client_moves(own_web):
    """If the sticky Pod dies, the client gets a living one, and sticks to that."""
    make_sticky(own_web)
    (first,) = set(own_web.client.web(own_web.service.url, times=STICKY).pods)

    own_web.lab.delete_pod(first, grace_seconds=0)

    alive = own_web.lab.ready_pods("app=web", 3)
    own_web.service.settles_on(alive)
    replies = own_web.client.web(own_web.service.url, times=STICKY)
    assert replies.ok, replies.summary()
    assert first not in replies.pods, "the Pod that died can't have answered"
    assert len(set(replies.pods)) == 1, f"not sticky: {replies.counts()}"
