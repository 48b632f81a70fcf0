"""Session affinity: one client address, one Pod."""

from __future__ import annotations

import pytest

from servicelab import claim, eventually
from servicelab.verdict import deadlines, statistics, wait_out

STICKY = statistics.equal_answers_for_affinity(3)
TO_SEE_ALL_OF_3 = statistics.requests_to_see_all(3)


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


@claim("AFF-01")
def test_one_client_always_gets_one_pod(own_web):
    """With sessionAffinity ClientIP, a client's connections all go to one Pod."""
    make_sticky(own_web)

    replies = own_web.client.web(own_web.service.url, times=STICKY)

    assert replies.ok, replies.summary()
    assert len(set(replies.pods)) == 1, f"not sticky: {replies.counts()}"


@claim("AFF-02")
def test_another_client_may_get_another_pod(own_web):
    """Affinity is by client address: each client sticks to its Pod, and not all to the same."""
    make_sticky(own_web)

    # All on one node: affinity is kept in a node's kernel, and it is the address that must decide.
    (first,) = own_web.lab.pods("servicelab/role=client")
    chosen = set()
    # Clients are added until two differ; that all of STICKY agree by luck is below 1e-9.
    for number in range(STICKY):
        client = (
            own_web.client
            if number == 0
            else own_web.lab.client(f"client-{number}", node=first.node)
        )
        answers = set(client.web(own_web.service.url, times=STICKY).pods)
        assert len(answers) == 1, f"not sticky: {client.name} got {sorted(answers)}"
        chosen |= answers
        if len(chosen) > 1:
            break

    assert len(chosen) > 1, f"all of {STICKY} clients got {chosen}"


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


@claim("AFF-04")
@pytest.mark.slow
def test_affinity_lets_go_after_its_timeout(own_web):
    """The default is 10800 s; with 2 s, a client that was silent for longer may get another Pod."""
    own_web.lab.patch_service("web", sessionAffinity="ClientIP")
    default = own_web.service.read().spec.session_affinity_config.client_ip.timeout_seconds
    assert default == 10800

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
    pytest.fail(f"after {STICKY} silences of 3 s it still sticks to {first}")


@claim("AFF-05")
def test_where_affinity_lives_in_the_kernel(own_web, proxy_mode):
    """iptables keeps it in a `recent` list, nftables in a set with a timeout; on every node."""
    make_sticky(own_web)

    where = {"iptables": "recent", "nftables": "set"}[proxy_mode]
    for node, rules in own_web.lab.rules("web").items():
        (rule,) = rules
        assert (rule.affinity_by, rule.affinity_seconds) == (where, 10800), f"{node}: {rule}"


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
