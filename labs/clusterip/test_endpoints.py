"""Endpoints: the ready Pods that the selector matches, and nobody else."""

from __future__ import annotations

from servicelab import claim, eventually
from servicelab.observe.endpoints import endpoints, ready
from servicelab.vantage import HttpRequest
from servicelab.verdict import deadlines, statistics

TO_SEE_ALL_OF_3 = statistics.requests_to_see_all(3)


@claim("CIP-03")
def test_endpoints_are_the_ready_pods_that_match(own_web):
    """Endpoints list exactly the ready Pods that the selector matches, each as podIP:targetPort."""
    lab = own_web.lab
    # Two that don't match, one that does, and one that does but never gets ready.
    lab.apply("testpods.yaml", "moody.yaml", "unready.yaml")

    matching = lab.ready_pods("app=web,ready!=never", 4)
    eventually(
        lambda: [each.pod for each in endpoints(lab.cluster.client, lab.namespace, "web")],
        lambda pods: "unready" in pods,
        deadline=deadlines.current().pod_ready,
        expecting="the slice to show the Pod that is not ready, as such",
    )
    own_web.service.follows(matching)
    listed = ready(endpoints(lab.cluster.client, lab.namespace, "web"))

    assert {(each.ip, each.port) for each in listed} == {(pod.ip, 80) for pod in matching}
    assert {each.pod for each in listed} == {pod.name for pod in matching}


@claim("CIP-04")
def test_a_relabelled_pod_leaves(own_web):
    """Relabel a Pod away: it leaves the endpoints, gets no traffic, and is replaced."""
    lab, leaver = own_web.lab, own_web.pods[0]

    lab.label(leaver, app="elsewhere")

    stayed = lab.ready_pods("app=web", 3)
    own_web.service.settles_on(stayed)
    names = {pod.name for pod in stayed}
    assert leaver.name not in names
    assert len(names - own_web.pod_names) == 1, "the ReplicaSet made one Pod anew"
    answered = own_web.client.web(own_web.service.url, times=TO_SEE_ALL_OF_3)
    assert set(answered.pods) == names, "all three that match, and not the one that left"
    assert lab.pods("app=elsewhere")[0].ready, "the Pod itself is as well as before"


@claim("CIP-05")
def test_a_labelled_pod_joins(lab):
    """Label a bare Pod so that it matches: it joins endpoints, every node's rules, and answers."""
    lab.apply("testpods.yaml")
    client = lab.start_client()
    before = lab.ready_pods("run=testpod", 1)
    lab.ready_pods("run=testpod1", 1)
    service = lab.service("testpod")
    service.settles_on(before)

    lab.label("testpod1", run="testpod")

    service.settles_on(lab.ready_pods("run=testpod", 2))
    lab.running_pod(client.pod)
    replies = client.web(service.url, times=statistics.requests_to_see_all(2))
    assert set(replies.pods) == {"testpod", "testpod1"}


@claim("CIP-10")
def test_a_pod_that_is_not_ready_gets_no_traffic(own_web):
    """A failing readiness probe takes a Pod out of the ready endpoints, and out of traffic."""
    lab = own_web.lab
    lab.apply("moody.yaml")
    four = lab.ready_pods("app=web", 4)
    moody = next(pod for pod in four if pod.name == "moody")
    own_web.service.settles_on(four)

    own_web.client.get(f"http://{moody.ip}:8081/make-not-serving")

    own_web.service.settles_on(own_web.pods)
    listed = endpoints(lab.cluster.client, lab.namespace, "web")
    (condition,) = (each for each in listed if each.pod == "moody")
    assert not condition.ready, "still in the slice, but not ready"
    replies = own_web.client.web(own_web.service.url, times=statistics.requests_to_see_all(4))
    assert set(replies.pods) == own_web.pod_names
    assert own_web.client.get(f"http://{moody.ip}/hostname").text == "moody", "it could answer"


@claim("CIP-12")
def test_scaling_and_deleting_pass_unnoticed(lab):
    """Scale up, delete a Pod, scale down: the Service follows, and a client sees no error."""
    lab.apply("rolling.yaml")
    client = lab.start_client()
    rolling = lab.service("rolling")
    rolling.settles_on(lab.ready_pods("app=rolling", 2))
    lab.running_pod(client.pod)
    request = HttpRequest.to(
        f"{rolling.url}/hostname", timeout=deadlines.current().client_waits.seconds
    )

    with client.continuously(request, every=0.02) as stream:
        lab.scale("rolling", 4)
        grown = lab.ready_pods("app=rolling", 4)
        rolling.settles_on(grown)
        lab.delete_pod(grown[0])
        healed = lab.ready_pods("app=rolling", 4)
        rolling.settles_on(healed)
        lab.scale("rolling", 1)
        (last,) = lab.ready_pods("app=rolling", 1)
        rolling.settles_on([last])
        settled_at = len(stream.so_far())
        eventually(
            lambda: len(stream.so_far()),
            lambda count: count > settled_at + 20,
            deadline=deadlines.current().service_reachable,
            expecting="the client to go on asking",
        )

    assert stream.replies.ok, f"the client saw {stream.replies.error_counts()}"
    assert grown[0].name not in {pod.name for pod in healed}
    assert set(stream.replies[settled_at + 1 :].pods) == {last.name}
