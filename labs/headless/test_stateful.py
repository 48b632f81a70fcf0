"""A StatefulSet: names that stay while Pods come and go."""

from __future__ import annotations

from servicelab import claim


@claim("HL-06")
def test_a_name_outlives_its_pod(stateful):
    """web-0.SERVICE is web-0, whoever that is: the Pod is deleted, the name keeps, the IP not."""
    lab, names, service = stateful.lab, stateful.names, stateful.service.dns_name
    web_0, web_1 = stateful.pods
    names.lists(f"web-0.{service}", [web_0], whose="web-0")
    names.lists(f"web-1.{service}", [web_1], whose="web-1")

    lab.delete_pod(web_0, grace_seconds=0)

    new, other = lab.ready_pods("app=stateful", 2)
    assert new.name == web_0.name, "the new Pod has another name"
    assert new.ip != web_0.ip, "the new Pod has the old one's address"
    names.lists(f"web-0.{service}", [new], whose="the new web-0")
    names.lists(f"web-1.{service}", [other], whose="web-1, as before")
    assert other.ip == web_1.ip, "web-1 is another Pod too"
    (reply,) = stateful.client.web("web-0.stateful", 80)
    assert (reply.pod, reply.peer.ip) == ("web-0", new.ip), f"by its short name: {reply.outcome}"
