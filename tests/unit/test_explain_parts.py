"""What the walk is made of: sockets, questions, answers, policies, words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any, cast

import pytest
from rich.console import Console

from servicelab.errors import InfrastructureError, UsageError
from servicelab.explain import NONE, Access, Layer, State, Walk, Word
from servicelab.explain.answers import Asked, Place, Question, Socket, answers, places_in_words
from servicelab.explain.api_proxy import failure
from servicelab.explain.asking import ask
from servicelab.explain.choosing import any_cluster, our_cluster, place_named, service_named
from servicelab.explain.network_policy import admits, selects
from servicelab.explain.objects import ServicePort
from servicelab.explain.places import Asker, Places
from servicelab.explain.questions import how_often, request, service_questions
from servicelab.explain.rendering import render
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.sockets import parse_sockets
from servicelab.explain.wording import counted, listed
from servicelab.vantage import (
    DnsRecord,
    DnsReply,
    HttpReply,
    HttpRequest,
    TcpRequest,
    UdpReply,
    UdpRequest,
)
from servicelab.vantage.reply import ErrorClass

NODE = Place("node-1", "node", "node-1", "172.18.0.2")
PROC = """\
==> /proc/7/net/tcp <==
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0 100 0 0 10 0
   1: 0200F40A:0050 0100F40A:C350 01 00000000:00000000 00:00000000 00000000 0 0 1 1 0 100 0 0 10 0

==> /proc/7/net/tcp6 <==
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0

==> /proc/7/net/udp <==
  12: 00000000:14B4 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 0

==> /proc/7/net/udp6 <==
"""


def test_sockets_are_those_that_listen() -> None:
    """Established connections are left out; addresses are read in the machine's byte order."""
    assert parse_sockets(PROC) == (
        Socket("::", 80, "TCP"),
        Socket("127.0.0.1", 8080, "TCP"),
        Socket("0.0.0.0", 5300, "UDP"),
    )
    assert [each.only_inside for each in parse_sockets(PROC)] == [False, True, False]


def test_replies_are_summed_up() -> None:
    """Answered, accepted in silence, refused: each is counted as what it is."""
    question = Question("cluster", "10.96.0.7", 80, "TCP", times=4)
    asked = HttpRequest("10.96.0.7", 80, "/hostname")
    replies = [
        HttpReply(request=asked, connect_seconds=0.1, error=ErrorClass.PROTOCOL),
        HttpReply(request=asked, connect_seconds=0.1, error=ErrorClass.TIMEOUT),
        HttpReply(request=asked, error=ErrorClass.REFUSED),
        HttpReply(request=asked, connect_seconds=0.1),
    ]

    found = answers(NODE, question, replies)

    assert (found.answered, found.connected) == (2, 3)
    assert found.errors == {"silent": 1, "refused": 1}
    assert found.met == "1 of 4 silent, 1 of 4 refused"


def test_silence_over_udp_is_not_a_refusal() -> None:
    """Nobody can tell whether the datagram was heard."""
    question = Question("backend", "10.244.0.1", 53, "UDP")
    reply = UdpReply(request=UdpRequest("10.244.0.1", 53), error=ErrorClass.TIMEOUT)

    assert answers(NODE, question, [reply]).errors == {"silent": 1}


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        (Question("backend", "10.0.0.1", 80, "TCP"), HttpRequest),
        (Question("backend", "10.0.0.1", 3306, "TCP"), TcpRequest),
        (Question("backend", "10.0.0.1", 53, "UDP", dns=True), UdpRequest),
    ],
)
def test_a_question_is_asked_in_a_way_that_does_no_harm(question: Question, kind: type) -> None:
    """Databases are only connected to."""
    assert type(request(question, 1.0)) is kind


def service(**spec: Any) -> Snapshot:
    """A Service with two backends."""
    ends = [{"addresses": [f"10.244.0.{n}"]} for n in (1, 2)]
    labels = {"kubernetes.io/service-name": "web"}
    ports = [{"port": 8080, "targetPort": 80, "nodePort": 30080}]
    slice_ = {"metadata": {"name": "w", "labels": labels}, "ports": [{"port": 80}]}
    node: dict[str, Any] = {"metadata": {"name": "node-1"}, "status": {"addresses": []}}
    node["status"]["addresses"].append({"type": "InternalIP", "address": "172.18.0.2"})
    return Snapshot(
        service={
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"type": "NodePort", "clusterIP": "10.96.0.7", "ports": ports, **spec},
        },
        slices=({**slice_, "endpoints": ends},),
        nodes=(node,),
    )


def asked(state: str = "") -> Asked:
    """Both backends answered; or they did not."""
    ends = [Question("backend", f"10.244.0.{n}", 80, "TCP") for n in (1, 2)]
    ok = HttpReply(request=HttpRequest("x"), connect_seconds=0.1)
    bad = HttpReply(request=HttpRequest("x"), error=ErrorClass.REFUSED)
    return Asked((NODE,), backends=tuple(answers(NODE, q, [bad if state else ok]) for q in ends))


def test_a_service_is_asked_as_often_as_it_takes() -> None:
    """31 for two backends; a few where more would show no more."""
    (port,) = service().ports

    assert how_often(service(), asked(), port) == 31
    assert how_often(service(), asked("refused"), port) == 1
    assert how_often(service(sessionAffinity="ClientIP"), asked(), port) == 2


def test_each_place_asks_what_it_is_meant_to_reach() -> None:
    """The ClusterIP inside, node ports outside."""
    outside = Place("outside", "outside")
    inside = service_questions(service(externalIPs=["192.0.2.7"]), asked(), NODE)

    assert [each.target for each in inside] == ["10.96.0.7:8080", "192.0.2.7:8080"]
    assert [
        (each.target, each.node) for each in service_questions(service(), asked(), outside)
    ] == [("172.18.0.2:30080", "node-1")]
    assert service_questions(service(clusterIP="None"), asked(), NODE) == ()


@pytest.mark.parametrize(
    ("ingress", "admitted"),
    [
        ([], False),
        ([{}], True),
        ([{"ports": [{"port": 80}]}], True),
        ([{"ports": [{"port": 8000, "endPort": 9000}]}], False),
        ([{"ports": [{"port": "web"}]}], True),
        ([{"ports": [{"port": 80, "protocol": "UDP"}]}], False),
        ([{"from": [{"ipBlock": {"cidr": "172.18.0.0/16"}}]}], True),
        ([{"from": [{"ipBlock": {"cidr": "172.18.0.0/16", "except": ["172.18.0.2/32"]}}]}], False),
        ([{"from": [{"podSelector": {}}]}], False),
        ([{"from": [{"namespaceSelector": {}}]}], False),
    ],
)
def test_what_a_policy_admits(ingress: list[Any], admitted: bool) -> None:
    """A node is let in by an address range, or by a rule for everybody."""
    policy = {"metadata": {"name": "p"}, "spec": {"podSelector": {}, "ingress": ingress}}
    pod = {"spec": {"containers": [{"ports": [{"containerPort": 80, "name": "web"}]}]}}

    assert admits([policy], pod, 80, "TCP", NODE) is admitted


@pytest.mark.parametrize(
    ("operator", "values", "matched"),
    [("In", ["web"], True), ("NotIn", ["web"], False), ("Exists", [], True),
     ("DoesNotExist", [], False)],
)  # fmt: skip
def test_label_expressions(operator: str, values: list[str], matched: bool) -> None:
    """Each operator means what Kubernetes says."""
    expression = {"key": "app", "operator": operator, "values": values}

    assert selects({"matchExpressions": [expression]}, {"app": "web"}) is matched


@pytest.mark.parametrize(
    ("message", "met"),
    [
        ("error trying to reach service: dial tcp 10.244.0.1:80: connect: connection refused",
         "refused"),
        ("error trying to reach service: dial tcp 10.244.0.1:80: i/o timeout", "timeout"),
        ("error trying to reach service: EOF", ""),
        ('pods "web-1" is forbidden', None),
    ],
)  # fmt: skip
def test_what_the_api_server_met_at_a_pod(message: str, met: str | None) -> None:
    """A refusal of its own says nothing of the Pod."""
    assert failure(json.dumps({"kind": "Status", "message": message})) == met


def test_a_page_of_the_pods_is_an_answer() -> None:
    """Whatever it says."""
    assert failure("404 page not found") == failure('{"kind": "Page"}') == ""


def test_words() -> None:
    """Numbers and lists read as sentences have them."""
    assert [counted(1, "Pod"), counted(2, "NetworkPolicy")] == ["1 Pod", "2 NetworkPolicies"]
    assert [listed(["b", "a"]), listed("abcde")] == ["a and b", "a, b, c and 2 more"]
    assert places_in_words([NODE, NODE, Place("o", "outside")]) == "node node-1 and outside"
    assert str(ServicePort("http", 80, "TCP", 80)) == "80/TCP (http)"


def test_a_table_and_what_is_broken() -> None:
    """The table has every layer; the word, the sentence and the command stand below it."""
    layers = (
        Layer(Word.SELECTOR, State.BROKEN, "app=[webb]", "nobody has it", "kubectl get pods"),
        Layer(Word.ARP, State.NOT_NEEDED, "no VIP"),
    )
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115

    render(Walk("shop/web", "ClusterIP", layers, "2 nodes"), console)

    text = console.export_text()
    assert "app=[webb]" in text
    assert "first broken layer: selector\n  nobody has it\n  try: kubectl get pods" in text


def test_a_walk_knows_its_exit_code() -> None:
    """0 for none, 1 for a broken layer, 3 where it is not known."""

    def code(state: State) -> int:
        return Walk("a/b", "ClusterIP", (Layer(Word.DNS, state, "seen"),), "here").exit_code

    assert [code(state) for state in State] == [0, 1, 3, 0]
    assert Walk("a/b", "ClusterIP", (), "here").first_broken == NONE


@pytest.mark.parametrize("text", ["web", "shop/", "/web", "a/b/c"])
def test_a_service_has_a_namespace_and_a_name(text: str) -> None:
    """Anything else is refused in a sentence."""
    with pytest.raises(UsageError, match="write NAMESPACE/SERVICE"):
        service_named(text)


def test_unknown_places_and_clusters_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with what there is instead."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="use one of pod, node, outside"):
        place_named("moon")
    with pytest.raises(UsageError, match="has made no cluster 'nowhere'"):
        our_cluster("nowhere")
    with pytest.raises(UsageError, match="can't be used for the context moon"):
        any_cluster("moon", tmp_path / "kubeconfig")


def test_an_api_server_that_does_not_answer(tmp_path: Path) -> None:
    """The sentence names it."""
    from servicelab.explain import explain

    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n"
    )

    with pytest.raises(InfrastructureError, match=r"127\.0\.0\.1:9 does not answer"):
        explain(any_cluster(None, kubeconfig), "shop", "web")


class FakeVantage:
    """Answers backends, and the Service as often as a test says."""

    name = "node-1"

    def __init__(self, *, dead: str = "", hears: bool = True) -> None:
        self.dead = dead
        self.hears = hears
        self.calls: list[list[str]] = []

    def ask(self, requests: list[Any], *, workers: int = 1) -> list[Any]:
        """One reply for each request."""
        if not self.hears:
            raise InfrastructureError("no probe runs on node-1")
        self.calls.append([each.target for each in requests])
        return [self.reply(each) for each in requests]

    def reply(self, request: Any) -> Any:
        if request.kind == "dns":
            record = DnsRecord(request.name, 30, "A", "10.96.0.7")
            return DnsReply(request=request, rcode="NOERROR", answer=(record,))
        if request.address == self.dead:
            return HttpReply(request=request, error=ErrorClass.REFUSED)
        return HttpReply(request=request, connect_seconds=0.1)


def asked_from(vantage: FakeVantage) -> Asked:
    """Ask the Service of two backends from one node."""
    s = replace(service(type="ClusterIP"), dns_service={"spec": {"clusterIP": "10.96.0.10"}})
    asker = Asker(NODE, cast(Any, vantage))
    access = Access(cast(Any, Object(ours=False)))
    return ask(access, s, Places((asker,), (asker,)), timeout=1.0)


def test_names_and_backends_are_asked_first_then_the_service() -> None:
    """One call for the name and the backends, then as many as see both."""
    vantage = FakeVantage()

    found = asked_from(vantage)

    assert vantage.calls[0] == [
        "dns A web.shop.svc.cluster.local",
        "GET http://10.244.0.1:80/hostname",
        "GET http://10.244.0.2:80/hostname",
    ]
    assert [len(each) for each in vantage.calls[1:]] == [2, 29]
    assert [each.answered for each in (*found.backends, *found.service)] == [1, 1, 31]
    assert found.names[0].addresses == ("10.96.0.7",)


def test_a_service_that_nobody_answers_for_is_not_asked_on() -> None:
    """Two requests show it."""
    found = asked_from(FakeVantage(dead="10.96.0.7"))

    assert [each.met for each in found.service] == ["2 of 2 refused"]


def test_a_place_that_does_not_hear_is_told() -> None:
    """It is no place any more, and its reason is kept."""
    found = asked_from(FakeVantage(hears=False))

    assert found.places == ()
    assert found.unreached == {"node-1": "no probe runs on node-1"}
    assert found.why_not == "no probe runs on node-1"
