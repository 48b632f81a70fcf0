"""Answers over time: their order, and how soon they follow the Pods."""

from __future__ import annotations

from servicelab import claim, eventually
from servicelab.vantage import DnsRequest
from servicelab.verdict import Missing, deadlines, statistics

TO_SEE_ALL_OF_3 = statistics.requests_to_see_all(3)
ENOUGH = max(
    TO_SEE_ALL_OF_3, statistics.requests_for_rotation(3), statistics.requests_to_look_random(3)
)


@claim("HL-11")
def test_answers_take_turns_and_follow_the_pods(own_peers, verdict):
    """The order rotates, so that clients spread themselves; changes arrive within the TTL."""
    lab, client = own_peers.lab, own_peers.client
    # One client where no Pod of peers is; the other is on a node with some, as a rule.
    far = lab.start_client("far", node=lab.cluster.nodes[0].name)
    lab.apply("moody.yaml")
    own_peers.names.lists(own_peers.service.dns_name, own_peers.pods, whose="every Pod")

    order, in_turn = order_of_answers(own_peers)
    lab.running_pod(far.pod)
    spread = by_name(far)
    assert spread == own_peers.pod_names, f"{far.name} does not spread itself: {spread}"
    near, here = by_name(client), lab.running_pod(client.pod).node
    neighbours = {pod.name for pod in own_peers.pods if pod.node == here}
    joined, left = seconds_to_follow(own_peers)

    lag = f"a Pod that is labelled in is listed after {joined:.2f} s, one that fails its "
    lag += f"readiness probe (every second) is left out after {left:.2f} s"
    if near <= neighbours < own_peers.pod_names:
        order += f"; a client beside {len(neighbours)} of them never goes to the others"
    if in_turn and near == own_peers.pod_names:
        verdict.holds(f"{order}; {lag}")
    else:
        verdict.holds_but(f"{order}; {lag}")


def order_of_answers(peers) -> tuple[str, bool]:
    """In which order answers list the Pods, in words, and whether that is a rotation."""
    question = DnsRequest(peers.service.dns_name, "A", peers.names.server)
    answers = [reply.addresses for reply in peers.client.ask([question] * ENOUGH)]
    assert {len(answer) for answer in answers} == {3}, "an answer that is not three addresses"
    firsts = [answer[0] for answer in answers]
    in_turn, at_random = statistics.rotation(firsts, 3), statistics.looks_random(firsts, 3)
    assert in_turn or at_random, f"neither in turn nor at random: {at_random.why}"
    return ("in turn" if in_turn else f"at random, not in turn: {at_random.why}"), bool(in_turn)


def by_name(client) -> set[str]:
    """Who answers a client that asks the short name again and again, as curl would."""
    replies = client.web("peers", 80, times=TO_SEE_ALL_OF_3)
    assert replies.ok, f"some were not answered: {replies.error_counts()}"
    return set(replies.pods)


def seconds_to_follow(peers) -> tuple[float, float]:
    """Let a Pod join, then be not ready: seconds until the DNS says so, by the client's clock."""
    lab, client = peers.lab, peers.client
    moody = lab.ready_pods("app=moody", 1)[0]
    question = DnsRequest(peers.service.dns_name, "A", peers.names.server)
    with client.continuously(question, every=0.01) as stream:
        joins = client.reach()["time"]
        lab.label(moody, app="peers")
        answers_have(stream, moody, True)
        leaves = client.get(f"http://{moody.ip}:8081/make-not-serving").started
        answers_have(stream, moody, False)
    listed = [moody.ip in reply.addresses for reply in stream.replies]
    joined = stream.replies[listed.index(True)]
    left = stream.replies[len(listed) - listed[::-1].index(True)]
    assert left.addresses, f"the name is gone altogether: {left.outcome}"
    return joined.started - joins, left.started - leaves


def answers_have(stream, pod, wanted: bool) -> None:
    """Wait until the last answer lists a Pod, or does not."""

    def as_wanted(last) -> bool | Missing:
        listed = any(pod.ip in reply.addresses for reply in last)
        agrees = bool(last) and listed is wanted
        return agrees or Missing(f"{pod.name} is {'still' if listed else 'not'} listed")

    eventually(
        lambda: stream.so_far(1),
        as_wanted,
        deadline=deadlines.current().dns_answers,
        expecting=f"the cluster DNS {'to list' if wanted else 'not to list'} {pod.name}",
        every=0.02,
    )
