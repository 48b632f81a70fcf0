"""Words about who answers at a Service's virtual address."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from servicelab.grading.found import Found
from servicelab.grading.vocabulary.backends import behind
from servicelab.grading.vocabulary.wording import counted, listed, whose
from servicelab.vantage import Replies, Reply, UdpRequest, Vantage
from servicelab.verdict import statistics

if TYPE_CHECKING:
    from servicelab.grading.scene import Scene
    from servicelab.lab import Service

#: Seconds for one request of the first round; a lost SYN is repeated after 1 s.
_PATIENCE = 1.2
#: The same where many are counted, each of which costs points: a SYN is repeated thrice meanwhile.
_MUCH_PATIENCE = 8.0
#: Requests at the same time, so that those that are not answered are waited for together.
_AT_ONCE = 16


def ask(
    place: Vantage, address: str, port: int, protocol: str, times: int, timeout: float = _PATIENCE
) -> Replies[Any]:
    """Ask a Service who answers, each time on a connection of its own."""
    if protocol == "udp":
        return place.ask([UdpRequest(address, port, timeout=timeout)] * times, workers=_AT_ONCE)
    return place.web(address, port, times=times, timeout=timeout, workers=_AT_ONCE)


def answers(
    scene: Scene,
    *,
    service: str,
    port: int,
    of: str,
    protocol: str = "tcp",
    all_of_them: bool = True,
) -> Found:
    """From every node and from a Pod, a Service's port leads to a workload's Pods only.

    Args:
        scene: where to look.
        service: the Service.
        port: its port.
        of: the workload, "deployment/web".
        protocol: "tcp" for HTTP, or "udp".
        all_of_them: every Pod must answer sometimes; not for a sticky Service.
    """
    found = scene.service(service)
    said = f"port {port}/{protocol.upper()} of Service {found.name}"
    expected = f"{said} leads to {whose(of)}, from every node and from a Pod"
    address = found.cluster_ip
    if address in ("None", ""):
        return Found(
            False, expected, "the Service has no virtual address", "there is no address to ask"
        )
    places: list[Vantage] = [*scene.nodes, scene.client]
    names = {pod.name for pod in scene.pods(of)}

    def first_round() -> dict[str, Reply]:
        return {place.name: ask(place, address, port, protocol, 1)[0] for place in places}

    sight = scene.until(
        first_round,
        lambda replies: bool(names) and all(reply.pod in names for reply in replies.values()),
        expecting=f"{said} to be answered by {whose(of)}",
        tell=_round,
    )
    if not sight.satisfied:
        return Found(
            False, expected, _round(sight.seen), _why_not(sight.seen, names, of), sight.waited_for
        )
    return _many(scene, places, found, address, port, protocol, names, all_of_them, expected, of)


def _many(
    scene: Scene,
    places: list[Vantage],
    service: Service,
    address: str,
    port: int,
    protocol: str,
    names: set[str],
    all_of_them: bool,
    expected: str,
    of: str,
) -> Found:
    """Ask as often as it takes to meet each Pod, but for a chance below 1e-9."""
    programmed(scene, service)
    times = statistics.requests_to_see_all(len(names)) if all_of_them else 5
    if protocol == "udp":
        times *= 2  # some may be lost
    each_place = -(-times // len(places))

    def count() -> list[Replies[Any]]:
        return [ask(place, address, port, protocol, each_place, _MUCH_PATIENCE) for place in places]

    # A request that nobody answers may be the machine's fault: it counts only if the cluster is
    # proved to do its work meanwhile. Who answered is judged as it comes, and never asked again.
    sight = scene.until(
        count,
        lambda rounds: not any(_unanswered(replies, protocol) for replies in rounds),
        expecting=f"each of many requests to {service} to be answered",
        tell=lambda rounds: "; ".join(map(str, rounds)),
    )
    seen: dict[str, int] = {}
    for replies in sight.seen:
        for met, many in replies.summary().items():
            if (protocol, met) != ("udp", "timeout"):  # a datagram that is lost is not repeated
                seen[met] = seen.get(met, 0) + many
    told = ", ".join(f"{met} {count}" for met, count in sorted(seen.items()))
    actual = f"{counted(sum(seen.values()), 'answer')}: {told}"
    if strangers := set(seen) - names:
        why = f"some requests met {listed(strangers)} instead of {whose(of)}"
        return Found(False, expected, actual, why, sight.waited_for)
    if all_of_them and (silent := names - set(seen)):
        return Found(False, expected, actual, f"{listed(silent)} never answered")
    return Found(True, expected, actual)


def _unanswered(replies: Replies[Any], protocol: str) -> bool:
    errors = {str(each.error) for each in replies if each.error}
    return bool(errors - {"timeout"} if protocol == "udp" else errors)


def programmed(scene: Scene, service: Service) -> None:
    """Wait until every node's rules lead to all of a Service's endpoints.

    What is counted afterwards would be wrong as long as a node knows only some of them. It is not
    the submission's fault if they never do: what was asked then shows what there is.
    """
    wanted = {f"{each.ip}:{each.port}" for each in behind(service)}

    def backends() -> dict[str, set[str]]:
        return {
            node: {f"{each.ip}:{each.port}" for rule in rules for each in rule.backends}
            for node, rules in _rules(service).items()
        }

    scene.until(
        backends,
        lambda seen: all(found == wanted for found in seen.values()),
        expecting=f"the rules for {service} on every node to lead to {listed(wanted)}",
        tell=lambda seen: "; ".join(f"{node}: {listed(found)}" for node, found in seen.items()),
        every=0.4,
    )


def _rules(service: Service) -> dict[str, Any]:
    return dict(service.lab.rules(service.name))


def sticky(scene: Scene, *, service: str, port: int, of: str, seconds: int | None = None) -> Found:
    """Each client always gets the same Pod of several, for a certain time.

    Args:
        scene: where to look.
        service: the Service.
        port: its port.
        of: its Pods; all of them must be behind the Service, at least two.
        seconds: how long the rules remember a client that is silent; None for any time.
    """
    found = scene.service(service)
    names = {pod.name for pod in scene.pods(of)}
    expected = f"one client of Service {found.name} always gets the same of {len(names)} Pods"
    if seconds is not None:
        expected += f", and is remembered for {seconds} s"
    there = {each.pod for each in behind(found)}
    if len(names) < 2 or there != names:
        return Found(
            False,
            expected,
            f"behind the Service: {listed(there, none='nobody')}",
            "stickiness shows only where several Pods could answer, all of them",
        )
    programmed(scene, found)
    times = statistics.equal_answers_for_affinity(len(names))
    told = []
    for client in scene.clients:
        asked = scene.until(
            partial(ask, client, found.cluster_ip, port, "tcp", times, _MUCH_PATIENCE),
            lambda replies: not _unanswered(replies, "tcp"),
            expecting=f"each of many requests from {client.pod} to {found} to be answered",
            tell=str,
        )
        replies = asked.seen
        told.append(f"{client.pod}: {replies}")
        if not replies.ok or not set(replies.pods) <= names:
            why = f"{client.pod} met {replies}"
            return Found(False, expected, "; ".join(told), why, asked.waited_for)
        if len(set(replies.pods)) > 1:
            why = f"{client.pod} was answered by {counted(len(set(replies.pods)), 'Pod')}"
            return Found(False, expected, "; ".join(told), why)
    if seconds is not None:
        sight = scene.until(
            lambda: {rule.affinity_seconds for rules in _rules(found).values() for rule in rules},
            lambda seen: seen == {seconds},
            expecting=f"the rules of every node to remember a client of {found} for {seconds} s",
            tell=_seconds,
        )
        told.append(f"remembered for {_seconds(sight.seen)}")
        if not sight.satisfied:
            why = f"a silent client is remembered for {_seconds(sight.seen)}"
            return Found(False, expected, "; ".join(told), why, sight.waited_for)
    return Found(True, expected, "; ".join(told))


def _seconds(seen: set[int | None]) -> str:
    return (
        " or ".join(sorted("no time" if each is None else f"{each} s" for each in seen))
        or "no time"
    )


def _round(replies: dict[str, Reply]) -> str:
    said: dict[str, list[str]] = {}
    for place, reply in replies.items():
        said.setdefault(str(reply.pod or reply.error or reply.outcome), []).append(place)
    if len(said) == 1:
        return f"{next(iter(said))}, everywhere"
    return "; ".join(f"{what} ({', '.join(places)})" for what, places in said.items())


def _why_not(replies: dict[str, Reply], names: set[str], of: str) -> str:
    if not names:
        return f"{whose(of)} are not there"
    errors = {str(reply.error) for reply in replies.values() if reply.error}
    strangers = {reply.pod for reply in replies.values() if reply.pod and reply.pod not in names}
    if strangers:
        return f"{listed(strangers)} answered, which is none of {whose(of)}"
    if "refused" in errors:
        return (
            "the connection is refused: nobody listens where the Service leads, or it leads nowhere"
        )
    if errors:
        return f"there was no answer ({', '.join(sorted(errors))})"
    return "what answered did not say which Pod it is"
