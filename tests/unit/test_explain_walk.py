"""The walk finds the first broken layer, by what was seen and what was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from servicelab.explain import walk
from servicelab.explain.answers import Answers, Asked, NameAnswer, Place, Question, Socket
from servicelab.explain.snapshot import Snapshot
from servicelab.observe.model import Backend, ServiceRule

NODES = ("node-1", "node-2")
VIP = "10.96.0.7"
Json = dict[str, Any]


def node(name: str) -> Json:
    """A node that is Ready."""
    ready = {"type": "Ready", "status": "True"}
    return {"metadata": {"name": name}, "status": {"conditions": [ready]}}


def pod(number: int, **labels: str) -> Json:
    """A Pod of the Deployment web, Ready, on one of two nodes."""
    ready = {"type": "Ready", "status": "True"}
    ports = [{"containerPort": 80, "name": "web"}]
    return {
        "metadata": {
            "name": f"web-{number}",
            "labels": labels or {"app": "web"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d9"}],
        },
        "spec": {
            "nodeName": NODES[number % 2],
            "containers": [{"name": "main", "ports": ports, "readinessProbe": {}}],
        },
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": f"10.244.0.{number}"}],
            "conditions": [ready],
            "containerStatuses": [{"name": "main", "state": {"running": {}}}],
        },
    }


def unready(pod: Json, **status: Any) -> Json:
    """The same Pod, not Ready."""
    waits = {"type": "Ready", "status": "False"}
    return {**pod, "status": {**pod["status"], "conditions": [waits], **status}}


@dataclass
class World:
    """A Service web and all that belongs to it; sound until a test changes something."""

    spec: Json = field(
        default_factory=lambda: {
            "type": "ClusterIP",
            "clusterIP": VIP,
            "selector": {"app": "web"},
            "ports": [{"port": 8080, "targetPort": 80, "protocol": "TCP"}],
        }
    )
    pods: list[Json] = field(default_factory=lambda: [pod(1), pod(2), pod(3)])
    slices: list[Json] | None = None
    more: Json = field(default_factory=dict)
    rules: dict[str, Any] | None = None
    replies: dict[str, Json] = field(default_factory=dict)
    through: Json = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    asked: Json = field(default_factory=dict)

    @property
    def ready(self) -> list[Json]:
        """The Pods that a controller would list."""
        return [
            each
            for each in self.pods
            if self.spec.get("selector", {}).items() <= each["metadata"]["labels"].items()
            and each["status"]["conditions"][0]["status"] == "True"
        ]

    def snapshot(self) -> Snapshot:
        """What the cluster shows."""
        service = {"metadata": {"name": "web", "namespace": "shop"}, "spec": self.spec}
        slices = [slice_of(self.ready)] if self.slices is None else self.slices
        s = Snapshot(
            service=service | self.more.pop("service", {}),
            pods=tuple(self.pods),
            slices=tuple(slices),
            nodes=tuple(map(node, NODES)),
            dns_service={"spec": {"clusterIP": "10.96.0.10"}},
            **self.more,
        )
        if self.rules is None and s.cluster_ips and s.ports:
            ends = [(each.ip, each.port or 0) for each in s.ready_for(s.ports[0])]
            self.rules = {name: (rule(ends),) for name in NODES}
        return replace(s, rules=self.rules or {})

    def answers(self, s: Snapshot) -> Asked:
        """What comes back, from both nodes."""
        places = tuple(Place(name, "node", name, f"172.18.0.{n}") for n, name in enumerate(NODES))
        ends = [each for port in s.ports for each in s.ready_for(port)]
        backends = [
            outcome(place, Question("backend", each.ip, each.port or 0, each.protocol), 1, each.pod,
                    self.replies.get(each.pod or each.ip, {}))
            for each in ends
            for place in places
        ]  # fmt: skip
        names = self.names
        if names is None:
            names = s.cluster_ips or tuple({each.ip for each in ends})
        protocol = self.spec["ports"][0].get("protocol", "TCP") if s.ports else "TCP"
        return Asked(
            **{
                "places": places,
                "backends": tuple(backends),
                "service": tuple(
                    outcome(place, Question("cluster", VIP, 8080, protocol, times=54), 54, "",
                            self.through.get(place.name, {}))
                    for place in places
                    if s.cluster_ips and ends
                ),
                "names": tuple(NameAnswer(each, s.dns_name, "NOERROR", names) for each in places),
                **self.asked,
            }
        )  # fmt: skip

    def walk(self) -> Any:
        """Look, ask, judge."""
        s = self.snapshot()
        return walk(s, self.answers(s))


def outcome(place: Place, question: Question, times: int, who: str, errors: Json) -> Answers:
    """What came back: an answer each time, but for the errors."""
    here = errors.get(place.name, errors) if errors else {}
    good = times - sum(here.values())
    told = {who: good} if who and good else {}
    return Answers(place, question, good, good + here.get("silent", 0), told, here)


def slice_of(pods: list[Json], port: Any = 80, **fields: Any) -> Json:
    """The EndpointSlice that the controller makes."""
    by = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    return {
        "metadata": {"name": "web-abc", "labels": {"kubernetes.io/service-name": "web", **by}},
        "ports": [{"name": "", "port": port, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [each["status"]["podIPs"][0]["ip"]],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": each["metadata"]["name"]},
                "nodeName": each["spec"]["nodeName"],
            }
            for each in pods
        ],
        **fields,
    }


def by_hand(ip: str = "192.0.2.9", **fields: Any) -> Json:
    """An EndpointSlice that somebody wrote."""
    return {
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [ip]}],
        **fields,
    }


def rule(ends: list[tuple[str, int]]) -> ServiceRule:
    """A node's rule for the ClusterIP."""
    backends = tuple(sorted(Backend(ip, port, 1 / len(ends)) for ip, port in ends))
    return ServiceRule("shop", "web", "", "TCP", VIP, 8080, "cluster", backends, rejects=not ends)


# One world for each thing that can be wrong: the word, and what the sentence must say.

CASES: dict[str, tuple[str, str, Callable[[World], Any]]] = {}
Change = Callable[[World], Any]


def case(word: str, says: str) -> Callable[[Change], Change]:
    """A world in which a layer is broken."""

    def kept(change: Change) -> Change:
        assert change.__name__ not in CASES
        CASES[change.__name__] = (word, says, change)
        return change

    return kept


@case("selector", "3 Pods have app=web (web-1, web-2 and web-3), the selector asks app=webb")
def typo_in_the_selector(w: World) -> None:
    w.spec["selector"] = {"app": "webb"}


@case("selector", "no Pod in the namespace shop has app=db: there is app=web (3 Pods)")
def selector_for_others(w: World) -> None:
    w.spec["selector"] = {"app": "db"}


@case("selector", "it has no Pods")
def selector_and_no_pods(w: World) -> None:
    w.pods = []


@case("selector", "nobody has made an EndpointSlice")
def no_selector_and_no_slices(w: World) -> None:
    del w.spec["selector"]
    w.slices = []


@case("selector", "has no selector any more")
def selector_taken_away(w: World) -> None:
    w.slices = [slice_of(w.pods)]
    del w.spec["selector"]


@case("labels", "3 Pods have app=wbe (web-1, web-2 and web-3), the selector asks app=web")
def typo_in_the_labels(w: World) -> None:
    w.pods = [pod(number, app="wbe") for number in (1, 2, 3)]


@case("labels", "3 Pods have no tier")
def label_left_out(w: World) -> None:
    w.spec["selector"] = {"app": "web", "tier": "front"}


@case("labels", "1 Pod has app=other (web), the selector asks app=web")
def the_pod_called_so_has_another_label(w: World) -> None:
    w.pods = [pod(1, app="other")]
    w.pods[0]["metadata"] |= {"name": "web", "ownerReferences": []}


@case("readiness", "web-1 has run to its end (Succeeded), and no other matches")
def the_pod_is_over(w: World) -> None:
    w.pods = [unready(pod(1), phase="Succeeded")]


@case("readiness", "web-1 is being deleted, and no other matches")
def the_pod_is_going(w: World) -> None:
    w.pods = [unready(pod(1))]
    w.pods[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


@case("readiness", "Readiness probe failed: HTTP probe failed with statuscode: 404")
def probe_fails(w: World) -> None:
    w.pods = [unready(each) for each in w.pods]
    said = "Readiness probe failed: HTTP probe failed with statuscode: 404"
    about = {"kind": "Pod", "name": "web-1"}
    w.more["events"] = (
        {"type": "Warning", "reason": "Unhealthy", "message": said, "involvedObject": about},
    )


@case("readiness", "container main: ImagePullBackOff")
def no_image(w: World) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    state = [{"name": "main", "state": waiting}]
    w.pods = [unready(pod(1), phase="Pending", containerStatuses=state)]


@case("readiness", "it ended with code 1 (Error)")
def crashing(w: World) -> None:
    status = {
        "name": "main",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
    }
    w.pods = [unready(pod(1), containerStatuses=[status])]


@case("readiness", "container main ended with code 1")
def crashing_between_two_tries(w: World) -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    w.pods = [
        unready(pod(1), containerStatuses=[{"name": "main", "state": ended, "restartCount": 2}])
    ]


@case("readiness", "Deployment web has 0 replicas")
def scaled_to_nothing(w: World) -> None:
    w.pods = []
    template = {"metadata": {"labels": {"app": "web"}}}
    w.more["workloads"] = (
        {
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"replicas": 0, "template": template},
        },
    )


@case("endpointslice", "web-3 is Ready and matches, but no EndpointSlice lists 10.244.0.3:80")
def controller_lags(w: World) -> None:
    w.slices = [slice_of(w.pods[:2])]


@case("endpointslice", "EndpointSlice web-1, made by hand, adds it")
def a_stranger_is_listed(w: World) -> None:
    w.slices = [slice_of(w.pods), by_hand()]


@case("endpointslice", "does not say whose it is")
def slice_without_its_label(w: World) -> None:
    del w.spec["selector"]
    w.slices = [by_hand(metadata={"name": "web-1"})]


@case("endpointslice", "a slice's port must have the same name and protocol")
def slice_with_another_port_name(w: World) -> None:
    del w.spec["selector"]
    w.slices = [by_hand(ports=[{"name": "http", "port": 80}])]


@case("endpointslice", "nobody answers at 192.0.2.9:80")
def slice_of_nobody(w: World) -> None:
    del w.spec["selector"]
    w.slices = [by_hand()]
    w.replies["192.0.2.9"] = {"timeout": 1}


@case("targetPort", "no container of web-1, web-2 and web-3 has a port of that name")
def unknown_port_name(w: World) -> None:
    w.spec["ports"][0]["targetPort"] = "http"
    w.slices = [slice_of(w.pods, ports=[])]


@case("targetPort", "nobody listens there; it listens on 8080")
def listens_elsewhere(w: World) -> None:
    for each in w.pods:
        w.replies[each["metadata"]["name"]] = {"refused": 1}
    w.asked["sockets"] = {f"web-{n}": (Socket("0.0.0.0", 8080, "TCP"),) for n in (1, 2, 3)}


@case("targetPort", "it listens on 127.0.0.1 only")
def listens_on_loopback(w: World) -> None:
    w.pods = [pod(1)]
    w.replies["web-1"] = {"refused": 1}
    w.asked["sockets"] = {"web-1": (Socket("127.0.0.1", 80, "TCP"),)}


@case("targetPort", "web-2 refuses 80/TCP: nobody listens there, or only on 127.0.0.1; the other 2")
def one_dead_among_living(w: World) -> None:
    w.replies["web-2"] = {"refused": 1}
    w.through = {"timeout": 18}


@case("targetPort", "web-2 takes what is sent to 80/TCP and never answers: the server there hangs")
def one_hanging_among_living(w: World) -> None:
    w.replies["web-2"] = {"silent": 1}
    w.through = {"silent": 18}


@case("protocol", "web-1 listens on 80/UDP: set the port's protocol to UDP")
def the_pod_speaks_udp(w: World) -> None:
    w.pods = [pod(1)]
    w.replies["web-1"] = {"refused": 1}
    w.asked["sockets"] = {"web-1": (Socket("::", 80, "UDP"),)}


@case("protocol", "the containers' port web is 80/TCP: set the port's protocol to TCP")
def a_named_port_of_the_other_protocol(w: World) -> None:
    w.spec["ports"][0] |= {"targetPort": "web", "protocol": "UDP"}
    w.slices = [slice_of(w.pods, ports=[])]


DENY = {"metadata": {"name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}


@case("policy", "NetworkPolicy deny selects web-1 and does not let 2 nodes in at 80/TCP")
def a_policy_denies(w: World) -> None:
    w.more["policies"] = (DENY,)
    for each in w.pods:
        w.replies[each["metadata"]["name"]] = {"timeout": 1}


@case("targetPort", "web-2 takes what is sent to 80/TCP and never answers")
def one_hangs_and_a_policy_is_not_why(w: World) -> None:
    w.more["policies"] = (DENY,)
    w.replies["web-2"] = {"silent": 1}


@case("targetPort", "web-2 does not answer at all at 80/TCP; the other 2 of 3 answer")
def one_is_mute_and_the_policy_lets_others_through(w: World) -> None:
    w.more["policies"] = (DENY,)
    w.replies["web-2"] = {"timeout": 1}


@case("policy", "internalTrafficPolicy is Local, so that a node sends the Service's traffic to its")
def local_without_a_pod(w: World) -> None:
    w.spec["internalTrafficPolicy"] = "Local"
    w.pods = [pod(1)]
    w.rules = {"node-2": (rule([("10.244.0.1", 80)]),), "node-1": (rule([]),)}
    w.through = {"node-1": {"timeout": 54}, "node-2": {}}


@case("policy", "internalTrafficPolicy is Local, so that a node sends the Service's traffic to its")
def local_without_a_pod_in_ipvs_mode(w: World) -> None:
    local_without_a_pod(w)
    w.more["mode"] = "ipvs"
    w.rules = {name: (rule([("10.244.0.1", 80)]),) for name in NODES}


@case("rules", "10.96.0.7:8080 leads to 10.244.0.1:80, which is no ready endpoint")
def local_without_a_pod_leads_elsewhere(w: World) -> None:
    local_without_a_pod(w)
    w.through = {}
    w.rules = {name: (rule([("10.244.0.1", 80)]),) for name in NODES}


@case("rules", "10.96.0.7:8080 does not lead to 10.244.0.3:80; no kube-proxy runs on node-2")
def a_node_lags(w: World) -> None:
    ends = [(f"10.244.0.{number}", 80) for number in (1, 2, 3)]
    w.rules = {"node-1": (rule(ends),), "node-2": (rule(ends[:2]),)}


@case("rules", "there is no rule for 10.96.0.7:8080; its kube-proxy kube-proxy-x is not Ready")
def a_node_has_no_rules(w: World) -> None:
    w.rules = {"node-1": ()}
    proxy = unready(pod(2))
    proxy["metadata"] = {"name": "kube-proxy-x"}
    proxy["spec"]["nodeName"] = "node-1"
    w.more["proxies"] = (proxy,)


@case("rules", "asked from node node-1, gives 54 of 54 unreachable")
def no_route_to_the_address(w: World) -> None:
    w.through = {"node-1": {"unreachable": 54}, "node-2": {}}


@case("rules", "web-1 (10.244.0.1:80) answers when it is asked directly, but not from node node-1")
def no_way_to_one_pod(w: World) -> None:
    w.replies["web-1"] = {"node-1": {"timeout": 1}, "node-2": {}}


@case("dns", "the cluster DNS does not answer, asked from node node-1")
def dns_is_mute(w: World) -> None:
    w.asked["names"] = (NameAnswer(Place("node-1", "node", "node-1"), "x", error="timeout"),)


@case("dns", "should be the ClusterIP 10.96.0.7, and the cluster DNS, asked from node node-1, says")
def dns_says_something_else(w: World) -> None:
    w.names = ("10.96.0.8",)


@case("dns", "externalName is 192.0.2.1, an address")
def an_address_for_a_name(w: World) -> None:
    w.spec = {"type": "ExternalName", "externalName": "192.0.2.1"}
    place = Place("node-1", "node", "node-1")
    w.asked["names"] = (NameAnswer(place, "x", "NXDOMAIN", aliases=("192.0.2.1",)),)


@case("none", "every layer holds, asked from 2 nodes")
def all_is_well(w: World) -> None:
    pass


@case("none", "every layer holds")
def headless(w: World) -> None:
    w.spec["clusterIP"] = "None"


@case("none", "every layer holds")
def one_of_them_is_not_ready(w: World) -> None:
    w.pods[0] = unready(w.pods[0])


@case("none", "every layer holds")
def external_name(w: World) -> None:
    w.spec = {"type": "ExternalName", "externalName": "shop.example"}
    said = NameAnswer(
        Place("node-1", "node", "node-1"), "x", "NOERROR", ("192.0.2.1",), ("shop.example",)
    )
    w.asked["names"] = (said,)


@case("none", "every layer holds")
def a_policy_that_nobody_enforces(w: World) -> None:
    w.more["policies"] = (DENY,)


@case("none", "every layer holds")
def affinity(w: World) -> None:
    w.spec["sessionAffinity"] = "ClientIP"


@pytest.mark.parametrize("name", CASES)
def test_the_first_broken_layer_is_found(name: str) -> None:
    """Each thing that can be wrong has its word, and a sentence that says what it is."""
    word, says, change = CASES[name]
    world = World()
    change(world)

    found = world.walk()

    assert (found.first_broken, found.exit_code) == (word, 0 if word == "none" else 1), found
    assert says in found.sentence
    assert bool(found.try_) == (word != "none")


@pytest.mark.parametrize("change", [crashing, crashing_between_two_tries])
def test_of_a_container_that_crashes_the_last_words_are_looked_at(change: Change) -> None:
    """Whatever its status says in the moment."""
    world = World()
    change(world)

    assert world.walk().try_ == "kubectl -n shop logs web-1 --previous --all-containers"


def test_nothing_asked_is_not_none() -> None:
    """What was not asked is told, and never taken for sound."""
    world = World(asked={"places": (), "backends": (), "service": (), "names": (),
                         "why_not": "there is no probe"})  # fmt: skip

    found = world.walk()

    assert found.first_broken is None
    assert found.exit_code == 3
    assert "dns, protocol, rules and targetPort not asked: there is no probe" in found.sentence


def test_a_broken_layer_is_found_without_asking() -> None:
    """What the objects show needs no request."""
    world = World(asked={"places": (), "backends": (), "service": (), "names": (),
                         "why_not": "there is no probe"})  # fmt: skip
    world.spec["selector"] = {"app": "webb"}

    assert world.walk().first_broken == "selector"


def test_a_node_that_could_not_be_asked_from_is_told() -> None:
    """One place that is missing leaves it open."""
    world = World(asked={"unreached": {"node-2": "no probe runs on node-2"}})

    found = world.walk()

    assert found.first_broken is None
    assert "no probe runs on node-2" in found.sentence


def test_a_silent_udp_port_proves_nothing() -> None:
    """A datagram without an answer may have reached somebody, or nobody."""
    world = World(slices=[slice_of([pod(1)], ports=[{"port": 80, "protocol": "UDP", "name": ""}])])
    world.pods = [pod(1)]
    world.spec["ports"][0]["protocol"] = "UDP"
    world.rules = {}
    world.replies["web-1"] = {"silent": 1}
    world.through = {"silent": 54}

    found = world.walk()

    assert found.first_broken is None
    assert "said nothing" in found.sentence


def test_json_has_what_was_seen_of_each_layer() -> None:
    """Every layer is there, in order; a broken one with its sentence and the next command."""
    world = World()
    world.spec["selector"] = {"app": "webb"}

    told = world.walk().to_json()

    assert told["first_broken"] == "selector"
    assert [each["layer"] for each in told["layers"]] == [
        "selector", "labels", "readiness", "endpointslice", "targetPort", "protocol", "policy",
        "rules", "dns", "metallb", "arp",
    ]  # fmt: skip
    assert told["layers"][0]["next"] == told["next"] == "kubectl -n shop get pods --show-labels"
    assert all(each["seen"] for each in told["layers"])
