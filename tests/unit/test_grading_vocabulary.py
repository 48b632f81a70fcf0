"""The vocabulary's words see through what only looks right; each can be met and be missed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from servicelab.grading import vocabulary
from servicelab.grading.scene import Sight
from servicelab.grading.vocabulary import answering, backends, names, outside, workloads
from servicelab.lab.pods import LabPod
from servicelab.observe.endpoints import Endpoint
from servicelab.vantage import HttpAnswer, HttpReply, HttpRequest, Replies

OF = "deployment/web"


def pod(name: str, ip: str, *, ready: bool = True, node: str = "worker") -> LabPod:
    """A Pod of the Deployment."""
    return LabPod(name, ip, node, ready, {})


WEB = [pod("web-a", "10.0.0.1"), pod("web-b", "10.0.0.2", node="worker2")]


def reply(who: str | None, client: str = "10.9.9.9", error: str | None = None) -> HttpReply:
    """What a Pod answers, or why nobody does."""
    request = HttpRequest("10.96.0.9", 80, "/hostname")
    if error:
        return HttpReply.from_wire({"error": error, "detail": error}, request)
    answers = [("/hostname", who), ("/clientip", f"{client}:4711")]
    return HttpReply(
        request=request,
        answers=tuple(
            HttpAnswer(path, 200, "OK", {}, str(text).encode()) for path, text in answers
        ),
    )


def all_but(odd: int, other: HttpReply) -> Callable[[int], HttpReply]:
    """Answers by the Pods in turn, but for one."""
    return lambda number: other if number == odd else in_turn("web-a", "web-b")(number)


class FakePlace:
    """A place whose questions are answered by a function of the question's number."""

    def __init__(self, name: str, answer: Callable[[int], HttpReply]) -> None:
        self.name = self.pod = name
        self.ip = "10.9.9.9"
        self._answer = answer
        self._asked = 0

    def _one(self) -> HttpReply:
        self._asked += 1
        return self._answer(self._asked - 1)

    def web(self, *target: Any, times: int = 1, **details: Any) -> Replies[HttpReply]:
        """As Vantage.web."""
        return Replies((self._one() for _ in range(times)), self.name)

    def get(self, url: str, *path: str, **details: Any) -> HttpReply:
        """As Vantage.get."""
        return self._one()

    def url(self, port: int, path: str = "/") -> str:
        """As NodeVantage.url."""
        return f"http://192.0.2.1:{port}{path}"


def in_turn(*names: str) -> Callable[[int], HttpReply]:
    """Answers by Pods in turn."""
    return lambda number: reply(names[number % len(names)])


class FakeService:
    """A Service."""

    def __init__(self, cluster_ip: str = "10.96.0.9", node_port: int | None = None) -> None:
        self.name, self.namespace = "web", "ns"
        self.cluster_ip, self.node_port = cluster_ip, node_port
        self.lab = SimpleNamespace(rules=lambda name: {}, cluster=SimpleNamespace(client=None))

    def __str__(self) -> str:
        return "Service ns/web"


class FakeScene:
    """A scene that looks once."""

    def __init__(self, answer: Callable[[int], HttpReply], **values: Any) -> None:
        self.found = values.pop("service", FakeService())
        self.workload: list[LabPod] = values.pop("pods", WEB)
        self.nodes = [FakePlace("node", answer), FakePlace("worker", answer)]
        self.clients = [FakePlace("client-0", answer), FakePlace("client-1", answer)]
        self.client = self.clients[0]
        self.outside = FakePlace("outside", answer)
        for name, value in values.items():
            setattr(self, name, value)

    def service(self, reference: str) -> FakeService:
        """As Scene.service."""
        return self.found

    def pods(self, owner: str) -> list[LabPod]:
        """As Scene.pods."""
        return self.workload

    def where(self, reference: str) -> tuple[Any, str]:
        """As Scene.where."""
        return SimpleNamespace(namespace="ns"), reference

    def until(self, look: Any, satisfies: Any, **words: Any) -> Sight[Any]:
        """As Scene.until, without waiting."""
        seen = look()
        satisfied = bool(satisfies(seen))
        assert words["expecting"]
        return Sight(seen, satisfied, "" if satisfied else f"waited: {words['expecting']}")

    stays = until  # whether it stays so is seen at once, too


class PatientScene(FakeScene):
    """A scene that looks again, a few times."""

    def until(self, look: Any, satisfies: Any, **words: Any) -> Sight[Any]:
        """As Scene.until, without waiting."""
        for _ in range(3):
            sight = super().until(look, satisfies, **words)
            if sight.satisfied:
                break
        return sight


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says which endpoints the Service has."""

    def says(*found: Endpoint) -> None:
        monkeypatch.setattr(backends, "read_endpoints", lambda *about: found)

    says(*(Endpoint(each.ip, 80, pod=each.name) for each in WEB))
    return says


def use(word: str, scene: FakeScene, **arguments: Any) -> Any:
    """Use a word."""
    return vocabulary.check(word)(scene, **arguments)


def test_every_word_has_a_function_that_says_what_it_proves() -> None:
    """The words are those that their modules bring, each with a sentence of its own."""
    for name, function in vocabulary.words().items():
        assert function.__doc__, name
        assert function.__name__ == name


# endpoints


def test_exactly_the_workloads_pods(listing: Any) -> None:
    """All of them and nobody else."""
    assert use("endpoints", FakeScene(in_turn("x")), service="web", of=OF).met


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([], "nobody is behind the Service"),
        ([Endpoint("10.0.0.1", 80, pod="web-a")], "web-b is missing"),
        (
            [*(Endpoint(p.ip, 80, pod=p.name) for p in WEB), Endpoint("10.0.0.7", 80, pod="evil")],
            "evil does not belong there",
        ),
        # A Pod of the right name at another address: written by hand.
        (
            [Endpoint("10.0.0.1", 80, pod="web-a"), Endpoint("10.0.0.66", 80, pod="web-b")],
            "is missing",
        ),
        # The right addresses with nobody behind them.
        ([Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80)], "does not belong there"),
        (
            [
                Endpoint("10.0.0.1", 80, pod="web-a"),
                Endpoint("10.0.0.2", 80, pod="web-b", ready=False),
            ],
            "web-b is missing",
        ),
    ],
)
def test_anybody_else_is_noticed(listing: Any, found: list[Endpoint], why: str) -> None:
    """Missing Pods, strangers, addresses by hand, and Pods that are not Ready."""
    listing(*found)

    seen = use("endpoints", FakeScene(in_turn("x")), service="web", of=OF)

    assert not seen.met
    assert why in seen.why
    assert seen.waited_for


def test_nobody_behind_nothing_is_not_enough(listing: Any) -> None:
    """A workload without Pods and a Service without endpoints agree, and that proves nothing."""
    listing()

    seen = use("endpoints", FakeScene(in_turn("x"), pods=[]), service="web", of=OF)

    assert not seen.met
    assert "not there" in seen.why


# answers


def test_answered_by_each_pod_from_everywhere(listing: Any) -> None:
    """Every place is answered, and every Pod answers."""
    assert use("answers", FakeScene(in_turn("web-a", "web-b")), service="web", port=80, of=OF).met


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (in_turn("evil"), "evil answered, which is none of the Pods of Deployment web"),
        (in_turn("web-c"), "web-c answered"),
        (in_turn("web-a"), "web-b never answered"),
        (lambda number: reply("web-a" if number < 9 else "evil"), "some requests met evil"),
        (lambda number: reply(None, error="refused"), "the connection is refused"),
        (lambda number: reply(None, error="timeout"), "there was no answer (timeout)"),
        (all_but(9, reply(None, error="reset")), "some requests met reset"),
    ],
)
def test_who_answers_is_proved(listing: Any, answer: Any, why: str) -> None:
    """A stranger, a Pod of a similar name, one Pod only, errors: each is told."""
    seen = use("answers", FakeScene(answer), service="web", port=80, of=OF)

    assert not seen.met
    assert why in seen.why


def test_no_pods_prove_nothing(listing: Any) -> None:
    """Without Pods of the workload nobody's answer counts."""
    seen = use("answers", FakeScene(in_turn("web-a"), pods=[]), service="web", port=80, of=OF)

    assert not seen.met


@pytest.mark.parametrize("address", ["None", ""])
def test_a_service_without_an_address_is_not_asked(listing: Any, address: str) -> None:
    """A headless Service and an ExternalName have none."""
    scene = FakeScene(in_turn("web-a", "web-b"), service=FakeService(address))

    assert "no address" in use("answers", scene, service="web", port=80, of=OF).why


# sticky


def test_each_client_keeps_to_its_pod(listing: Any) -> None:
    """Two clients may stick to different Pods."""
    scene = FakeScene(in_turn("web-a"))
    scene.clients[1] = FakePlace("client-1", in_turn("web-b"))

    assert use("sticky", scene, service="web", port=80, of=OF).met


def test_a_service_with_one_pod_is_not_called_sticky(listing: Any) -> None:
    """With one of two Pods behind it, equal answers prove nothing."""
    listing(Endpoint("10.0.0.1", 80, pod="web-a"))

    seen = use("sticky", FakeScene(in_turn("web-a")), service="web", port=80, of=OF)

    assert not seen.met
    assert "several Pods could answer" in seen.why


@pytest.mark.parametrize(
    "answer",
    [in_turn("web-a", "web-b"), lambda number: reply("web-b" if number == 25 else "web-a")],
)
def test_one_other_answer_is_enough_to_see_that_it_does_not_stick(
    listing: Any, answer: Any
) -> None:
    """Spreading is noticed, and so is a single request that went elsewhere."""
    seen = use("sticky", FakeScene(answer), service="web", port=80, of=OF)

    assert "client-0 was answered by 2 Pods" in seen.why


@pytest.mark.parametrize(("seconds", "met"), [(600, True), (601, False)])
def test_how_long_a_client_is_remembered(listing: Any, seconds: int, met: bool) -> None:
    """Read from the rules of every node."""
    scene = FakeScene(in_turn("web-a"))
    rule = SimpleNamespace(affinity_seconds=600, backends=())
    scene.found.lab.rules = lambda name: {"node": [rule]}

    seen = use("sticky", scene, service="web", port=80, of=OF, seconds=seconds)

    assert seen.met is met


# from outside


def test_every_node_must_lead_there() -> None:
    """One node that does not is told."""
    service = FakeService(node_port=30001)
    scene = FakeScene(in_turn("web-a"), service=service)

    assert use("node_port", scene, service="web", of=OF, number=30001).met
    scene.outside = FakePlace("outside", lambda number: reply("evil" if number else "web-a"))
    seen = use("node_port", scene, service="web", of=OF)
    assert "does not lead there on 1 node" in seen.why


def test_a_service_without_a_node_port_is_told() -> None:
    """It is not open on the nodes."""
    seen = use("node_port", FakeScene(in_turn("web-a")), service="web", of=OF)

    assert seen.actual == "the Service has no node port"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (in_turn("web-a", "web-b"), ""),
        (lambda number: reply("web-a", client="172.18.0.3"), "saw another address"),
        (lambda number: reply("evil"), "somebody else answered"),
        (lambda number: reply(None, error="timeout"), "does not answer"),
    ],
)
def test_whose_address_the_pods_see(answer: Any, why: str) -> None:
    """The client's own, on each node that runs a Pod."""
    scene = FakeScene(answer, service=FakeService(node_port=30001))
    scene.outside.url = scene.nodes[0].url

    seen = use("keeps_client_address", scene, service="web", of=OF)

    assert seen.met is (why == "")
    assert why in seen.why


# Pods


@pytest.mark.parametrize(
    ("pods", "why"),
    [
        (WEB, ""),
        (WEB[:1], "there are 1 Pod, not 2"),
        ([*WEB, pod("web-c", "10.0.0.3")], "there are 3 Pods, not 2"),
        ([WEB[0], pod("web-b", "10.0.0.2", ready=False)], "1 Pod never became Ready"),
    ],
)
def test_how_many_pods_are_ready(pods: list[LabPod], why: str) -> None:
    """Exactly so many, and all of them."""
    seen = use("pods_ready", FakeScene(in_turn("x"), pods=pods), of=OF, count=2)

    assert (seen.met, seen.why) == (why == "", why)


def test_a_pod_that_is_ready_for_a_moment_is_not_ready() -> None:
    """A container that is about to crash is Ready first."""
    scene = FakeScene(in_turn("x"))
    looks = iter([WEB, [WEB[0], pod("web-b", "10.0.0.2", ready=False)]])
    scene.pods = lambda owner: next(looks)  # type: ignore[method-assign]

    seen = use("pods_ready", scene, of=OF, count=2)

    assert (seen.met, seen.why) == (False, "1 Pod did not stay Ready")


class Replacing(FakeScene):
    """A scene in which a deleted Pod gets a successor, which joins the Service or does not."""

    def __init__(self, listing: Any, *, joins: bool = True, successor: bool = True) -> None:
        super().__init__(in_turn("web-b"))
        self.begun: list[bool] = []
        self.time = SimpleNamespace(most=None, begin=lambda pods: self.begun.append(pods))
        self._listing, self._joins, self._successor = listing, joins, successor

    def where(self, reference: str) -> tuple[Any, str]:
        """As Scene.where, with a lab that deletes Pods."""
        return SimpleNamespace(namespace="ns", delete_pod=self._delete), reference

    def _delete(self, gone: LabPod, *, grace_seconds: int) -> None:
        new = [pod("web-z", "10.0.0.9")] if self._successor else []
        self.workload = [each for each in self.workload if each != gone] + new
        behind = self.workload if self._joins else WEB[:1]
        self._listing(*(Endpoint(each.ip, 80, pod=each.name) for each in behind))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, ""),
        ({"joins": False}, "the Service does not follow its Pods"),
        ({"successor": False}, "the Pod has no Ready successor"),
    ],
)
def test_a_successor_takes_its_place(listing: Any, options: dict[str, bool], why: str) -> None:
    """The Service has its time from when the successor is Ready, not from the deletion."""
    scene = Replacing(listing, **options)

    seen = use("joins_when_ready", scene, service="web", of=OF)

    assert (seen.met, seen.why) == (why == "", why)
    assert scene.begun == [True, False]
    assert scene.time.most is None


def test_a_name_outlives_its_pod(listing: Any) -> None:
    """The only Pod is replaced, and its successor must answer to the name, not the old one."""
    for answer, met in ((in_turn("web-z"), True), (in_turn("web-a"), False)):
        scene = Replacing(listing)
        scene.workload = WEB[:1]
        scene.client = FakePlace("client", answer)

        assert use("name_outlives_pod", scene, name="web", port=80, of=OF).met is met


# names


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (in_turn("web-b"), ""),
        (in_turn("old-a"), "old-a is none of the Pods of Deployment web"),
        (lambda number: reply(None, error="name"), "the name does not lead to an address"),
        (lambda number: reply(None, error="refused"), "nobody listens on that port"),
    ],
)
def test_who_answers_to_a_name(answer: Any, why: str) -> None:
    """It is the Pod's identity that counts."""
    seen = use("name_answers", FakeScene(answer), name="web", port=80, of=OF)

    assert seen.met is (why == "")
    assert why in seen.why


def test_the_modules_of_the_vocabulary_are_all_named() -> None:
    """A word that no exercise can use would be forgotten."""
    homes = (answering, backends, names, outside, workloads)
    written = {
        name
        for home in homes
        for name, value in vars(home).items()
        if getattr(value, "__module__", "") == home.__name__
        and str(getattr(value, "__annotations__", {}).get("return")) == "Found"
        and not name.startswith("_")
    }

    assert written == set(vocabulary.words())


# requests that nobody answered


@pytest.mark.parametrize("word", ["answers", "sticky"])
def test_a_request_that_was_lost_once_costs_nothing(listing: Any, word: str) -> None:
    """On a busy machine a connection may not come about: that is seen again, and then counts."""
    who = ("web-a",) if word == "sticky" else ("web-a", "web-b")
    lost = reply(None, error="timeout")

    once = PatientScene(lambda number: lost if number == 9 else in_turn(*who)(number))
    always = PatientScene(lambda number: lost if number % 5 == 4 else in_turn(*who)(number))

    assert use(word, once, service="web", port=80, of=OF).met
    missed = use(word, always, service="web", port=80, of=OF)
    assert not missed.met
    assert "timeout" in missed.why
    assert missed.waited_for


def test_a_stranger_who_answered_once_is_not_asked_again(listing: Any) -> None:
    """Whose Pods answer is judged at the first round in which each request was answered."""
    scene = PatientScene(all_but(9, reply("evil")))

    missed = use("answers", scene, service="web", port=80, of=OF)

    assert not missed.met
    assert "evil" in missed.why
