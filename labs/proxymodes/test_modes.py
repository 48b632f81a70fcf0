"""Which mode is in force, how it is changed, and what happens without kube-proxy.

What changes the cluster is marked `disruptive`: it runs last and alone, and is put back.
"""

from __future__ import annotations

import pytest

from servicelab import claim
from servicelab.cluster.proxy_mode import ModeRefused
from servicelab.vantage import HttpRequest
from servicelab.vantage.outage import longest_outage
from servicelab.verdict import deadlines, eventually, statistics

#: Where a switch goes to: the other mode that every kernel of today has.
OTHER = {"iptables": "nftables", "nftables": "iptables", "ipvs": "iptables"}
LOGGED = {
    "iptables": "Using iptables Proxier",
    "nftables": "Using nftables Proxier",
    "ipvs": "Using ipvs Proxier",
}
LACKS_IPVS = "IPVS proxier"  # kube-proxy's words where the kernel has no ip_vs
BRIEF = 5.0  # seconds: TCP's own first two repetitions (1 s, 3 s) get a client over it
CONNECTION = 0.02  # seconds between two requests of the client that goes on asking


@claim("PXY-01")
def test_three_sources_tell_the_mode(web, verdict):
    """kube-proxy reports the mode, its log says it, and the kernel shows its rules and no other's,
    on every node."""
    mode, kube_proxy = web.lab.cluster.mode, web.lab.kube_proxy
    for node in kube_proxy.seen():
        assert node.reported == mode, f"{node} while {mode} is the mode under test"
        assert node.rules == (mode,), f"{node} while {mode} is the mode under test"
        assert LOGGED[mode] in kube_proxy.log(node.node), f"{node.node} does not log the mode"
    verdict.holds(
        f'/proxyMode says {mode}, the log "{LOGGED[mode]}", the kernel has only its rules'
    )


@pytest.mark.disruptive
@claim("PXY-07")
def test_the_configuration_counts_when_a_pod_restarts(own_web, nodes, verdict):
    """The ConfigMap's new mode is taken up by each node when its Pod restarts, not before; a client
    sees no error meanwhile."""
    lab, mode = own_web.lab, own_web.lab.cluster.mode
    other, kube_proxy, enough = OTHER[mode], lab.kube_proxy, statistics.requests_to_see_all(3)
    request = HttpRequest.to(f"{own_web.service.url}/hostname")
    with own_web.client.continuously(request, every=CONNECTION) as stream:
        kube_proxy.configure(mode=other)
        went_by = own_web.client.web(own_web.service.url, times=enough)
        unchanged = kube_proxy.reported()
        reports = []
        for node in nodes:
            kube_proxy.restart(node, other)
            reports.append(kube_proxy.reported())
        answered = own_web.client.web(own_web.service.url, times=enough)

    assert set(unchanged.values()) == {mode}, f"the ConfigMap alone changed it: {unchanged}"
    assert set(went_by.pods) == own_web.pod_names
    names = [node.name for node in nodes]
    for done, report in enumerate(reports, 1):
        expected = dict.fromkeys(names[:done], other) | dict.fromkeys(names[done:], mode)
        assert report == expected, f"after {done} restarts: {report}"
    assert set(answered.pods) == own_web.pod_names, f"in {other} mode: {answered.error_counts()}"
    asked, lost = len(stream.replies), sum(not reply.ok for reply in stream.replies)
    away = longest_outage(stream.replies)
    told = f"{lost} of {asked} requests lost, the longest outage {away.seconds:.2f} s"
    assert away.seconds < BRIEF, f"{told}: {stream.replies.error_counts()}"
    verdict.holds(f"from {mode} to {other}, node by node: {told}")


@pytest.mark.disruptive
@claim("PXY-13")
def test_without_the_module_ipvs_is_no_other_mode(lab, verdict):
    """On a kernel without ip_vs kube-proxy falls back to iptables."""
    if "ip_vs" in lab.cluster.docker_exec(lab.cluster.nodes[0].name, "ls", "/proc/net").split():
        pytest.skip("this kernel has ip_vs")
    kube_proxy = lab.kube_proxy
    node = lab.cluster.node_vantages[-1]
    kube_proxy.configure(mode="ipvs")

    refusal = refused(kube_proxy, node, "iptables")
    if not refusal:
        verdict.holds(f"{node.name} runs in {kube_proxy.reported()[node.name]} mode")
        return
    assert LACKS_IPVS in refusal, f"it ended for another reason: {refusal}"
    verdict.changed(f"kube-proxy ends instead: {refusal}")


def refused(kube_proxy, node, mode: str) -> str:
    """Restart a node's kube-proxy; says why it ended, or "" once it runs in the mode."""
    try:
        kube_proxy.restart(node, mode)
    except ModeRefused as error:
        return error.problem
    return ""


@pytest.mark.disruptive
@claim("PXY-14")
def test_what_an_empty_mode_means(lab, verdict):
    """With `mode: ""` kube-proxy runs in ipvs mode."""
    kube_proxy, node = lab.kube_proxy, lab.cluster.node_vantages[-1]
    kube_proxy.configure(mode="")

    if refusal := refused(kube_proxy, node, "iptables"):
        assert LACKS_IPVS in refusal, f"it ended for another reason: {refusal}"
        verdict.holds(f"kube-proxy tried ipvs: {refusal}")
        return

    reported = kube_proxy.reported()[node.name]
    assert LOGGED["iptables"] in kube_proxy.log(node.name)
    verdict.false(f'with mode "" {node.name} runs in {reported} mode')


@pytest.mark.disruptive
@claim("PXY-15")
def test_userspace_is_gone(lab):
    """kube-proxy refuses `mode: userspace`, and says which modes there are."""
    kube_proxy, node = lab.kube_proxy, lab.cluster.node_vantages[-1]
    kube_proxy.configure(mode="userspace")

    with pytest.raises(ModeRefused) as ended:
        kube_proxy.restart(node, lab.cluster.mode)

    said = ended.value.problem
    assert "mode" in said, said
    for known in ("iptables", "ipvs", "nftables"):
        assert known in said, f"it does not name {known}: {said}"


@pytest.mark.disruptive
@claim("PXY-17")
def test_a_switch_leaves_nothing_of_the_old_mode(own_web, verdict):
    """Into another mode and back: kube-proxy leaves nothing of the mode before, on no node."""
    lab, mode = own_web.lab, own_web.lab.cluster.mode

    left = {}
    for there, back in ((mode, OTHER[mode]), (OTHER[mode], mode)):
        for node, found in lab.kube_proxy.switch(back).left_behind.items():
            left[f"{node}, {there} to {back}"] = "; ".join(found)

    assert own_web.client.web(own_web.service.url, times=1).ok, "the Service answers again"
    if left:
        verdict.false(", ".join(f"{where}: {what}" for where, what in left.items()))
    else:
        verdict.holds(
            f"{mode} to {OTHER[mode]} and back: nothing on {len(lab.cluster.nodes)} nodes"
        )


@pytest.mark.disruptive
@claim("PXY-18")
def test_without_kube_proxy_everything_stays_as_it_was(own_web):
    """kube-proxy down: the Service goes on working, a new one doesn't; back up: it does."""
    lab, enough = own_web.lab, statistics.requests_to_see_all(3)

    with lab.kube_proxy.stopped():
        lab.apply("late.yaml")
        late = lab.service("late")
        late.follows(own_web.pods)
        went_on = own_web.client.web(own_web.service.url, times=enough)
        new = own_web.client.tcp(late.cluster_ip, 8080, timeout=1.0)

    assert set(went_on.pods) == own_web.pod_names, f"the old Service: {went_on.error_counts()}"
    assert not new.ok, "the new Service answers, though no kube-proxy ran when it was made"
    eventually(
        lambda: own_web.client.web(late.url, times=1),
        lambda replies: replies.ok,
        deadline=deadlines.current().service_reachable,
        expecting=f"{late} to answer once kube-proxy is back",
    )
