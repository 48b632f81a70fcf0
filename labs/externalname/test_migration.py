"""A site moves into the cluster, and its clients keep the name."""

from __future__ import annotations

from servicelab import claim, eventually
from servicelab.verdict import Missing, deadlines

SITE = "shop.example.org"
IN_A_ROW = 5
SENT_AGAIN = 1.0
"""Seconds after which Linux sends the first packet of a connection again: it was lost before."""


def last_from(stream, names):
    """Wait until the last answers of a continuous client come from these servers only."""

    def settled(replies) -> bool | Missing:
        answered = [reply.pod for reply in replies]
        enough = len(answered) == IN_A_ROW and {*answered} <= {*names}
        return enough or Missing(", ".join(map(str, replies)) or "nothing")

    eventually(
        lambda: stream.so_far(last=IN_A_ROW),
        settled,
        deadline=deadlines.current().service_reachable,
        expecting=f"the client to be answered by {' or '.join(sorted(names))}",
        tell=lambda replies: "",
        every=0.05,
    )


def move(inside, **spec):
    """Patch the Service `shop` while a client goes on asking; its Pods' names, and the replies.

    What the client met before it was answered from outside is left out: a new name takes a moment.
    """
    shop = inside.lab.service("shop")
    pods = inside.lab.ready_pods("app=shop", 2)
    before = inside.answer(shop)
    url = f"http://{shop.dns_name}/"
    with inside.client.continuously_web(url, host=SITE, every=0.01) as stream:
        last_from(stream, ["edge-1"])
        earlier = len(stream.so_far())
        inside.lab.patch_service("shop", **spec)
        last_from(stream, [pod.name for pod in pods])
    assert before.data("CNAME")[:1] == [f"{SITE}."]
    return {pod.name for pod in pods}, stream.replies[earlier - IN_A_ROW :]


def led_nowhere(replies) -> str:
    """What the client met that led nowhere: failures, and answers to packets sent again only."""
    turned_away = ", ".join(f"{times} {error}" for error, times in replies.error_counts().items())
    held_up = [reply for reply in replies if reply.ok and reply.connect_seconds >= SENT_AGAIN]
    waited = f"{len(held_up)} connected after {SENT_AGAIN:g} s" if held_up else ""
    return ", ".join(filter(None, [turned_away, waited]))


@claim("EN-09")
def test_the_type_is_changed_and_the_name_stays(inside, world, verdict):
    """ExternalName becomes ClusterIP: DNS goes from CNAME to A, clients that keep asking follow."""
    inside.lab.apply("shop.yaml")
    shop = inside.lab.service("shop")
    pods, replies = move(
        inside,
        type="ClusterIP", externalName=None, selector={"app": "shop"}, ports=[{"port": 80}],
    )  # fmt: skip
    after = inside.answer(shop)

    assert after.data("CNAME") == [], "DNS still answers a CNAME"
    assert after.addresses == [shop.cluster_ip]
    answered = [reply.pod for reply in replies if reply.ok]
    turn = next(turn for turn, name in enumerate(answered) if name in pods)
    assert set(answered[:turn]) == set(world.sites.servers_of(SITE))
    assert set(answered[turn:]) <= pods, "some answer came from outside again"
    if met := led_nowhere(replies):
        verdict.holds_but(f"the new address was known before it led anywhere: {met}")


@claim("EN-09")
def test_a_name_for_a_ready_service_loses_no_request(inside):
    """Led by its externalName to a Service that answers already, the name moves without a gap."""
    inside.lab.apply("shop.yaml", "inside.yaml")
    ready = inside.lab.service("shop-inside")
    ready.settles_on(inside.lab.ready_pods("app=shop", 2))

    _, replies = move(inside, externalName=ready.dns_name)

    assert not led_nowhere(replies), f"the client met {led_nowhere(replies)}"
