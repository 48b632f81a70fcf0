"""A site moves into the cluster, and its clients keep the name."""

from __future__ import annotations

from servicelab import claim, eventually
from servicelab.verdict import Missing, deadlines

SITE = "shop.example.org"
IN_A_ROW = 5
MOVES = 10
"""Once in a while the rules are there before any client asks: a gap that no move shows is none."""


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
    """Patch the Service `shop` while a client goes on asking; its Pods' names, and all replies."""
    shop = inside.lab.service("shop")
    pods = inside.lab.ready_pods("app=shop", 2)
    url = f"http://{shop.dns_name}/"
    with inside.client.continuously_web(url, host=SITE, every=0.01) as stream:
        last_from(stream, ["edge-1"])
        before = inside.answer(shop)
        inside.lab.patch_service("shop", **spec)
        last_from(stream, [pod.name for pod in pods])
    assert before.data("CNAME")[:1] == [f"{SITE}."]
    return {pod.name for pod in pods}, stream.replies


@claim("EN-09")
def test_the_type_is_changed_and_the_name_stays(inside, world, verdict):
    """ExternalName becomes ClusterIP: DNS goes from CNAME to A, clients that keep asking follow."""
    inside.lab.apply("shop.yaml")
    shop = inside.lab.service("shop")

    for _ in range(MOVES):
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
        if failed := [reply for reply in replies if not reply.ok]:
            back = next(reply for reply in replies if reply.pod in pods)
            verdict.holds_but(
                f"the new address was known before it led anywhere: {len(failed)} requests met "
                f"{' and '.join(replies.error_counts())}, "
                f"over {back.started - failed[0].started:.1f} s"
            )
            return
        inside.lab.patch_service(
            "shop", type="ExternalName", externalName=SITE, selector=None, ports=None
        )


@claim("EN-09")
def test_a_name_for_a_ready_service_loses_no_request(inside):
    """Led by its externalName to a Service that answers already, the name moves without a gap."""
    inside.lab.apply("shop.yaml", "inside.yaml")
    ready = inside.lab.service("shop-inside")
    ready.settles_on(inside.lab.ready_pods("app=shop", 2))

    _, replies = move(inside, externalName=ready.dns_name)

    assert replies.ok, f"the client met {replies}"
