"""Rules: does every node lead the Service's traffic to its endpoints?"""

from __future__ import annotations

from servicelab.explain.answers import SILENT, Answers, Asked
from servicelab.explain.backends import BackendState, backends_of
from servicelab.explain.layer import Layer, Word, broken, holds, not_asked, not_needed
from servicelab.explain.objects import Json, ServicePort, is_ready, labels_of, name_of, node_of
from servicelab.explain.policy import is_dropped, port_named
from servicelab.explain.readiness import why_not_ready
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.wording import counted, listed, verb
from servicelab.observe.model import ServiceRule

_WORD = Word.RULES
_OTHER_PROXY = "service.kubernetes.io/service-proxy-name"
_HEADLESS = "service.kubernetes.io/headless"


def rules_layer(s: Snapshot, asked: Asked) -> Layer:
    """Do the rules of every node say what the slices say, and do requests get through?"""
    if s.is_external_name or s.is_headless:
        kind = "ExternalName" if s.is_external_name else "headless"
        return not_needed(_WORD, f"kube-proxy makes no rules for a Service that is {kind}")
    for label in (_OTHER_PROXY, _HEADLESS):
        if label in labels_of(s.service):
            return broken(
                _WORD,
                f"label {label}",
                f"the Service has the label {label}, which tells kube-proxy to leave it alone",
                f"kubectl -n {s.namespace} label service {s.name} {label}-",
            )
    return _differing(s) or _not_through(s, asked) or _uneven(s, asked) or _rest(s, asked)


def _rest(s: Snapshot, asked: Asked) -> Layer:
    if asked.unreached:
        why = next(iter(asked.unreached.values()))
        return not_asked(_WORD, f"{listed(asked.unreached)} could not be asked from: {why}")
    read = _read(s)
    if not asked.service:
        why = asked.why_not or "no backend could answer through the Service"
        return not_asked(_WORD, "; ".join(filter(None, [f"nothing was asked: {why}", read])))
    failed = [each for each in asked.service if each.errors]
    words = [f"{sum(each.question.times for each in asked.service)} requests"]
    if failed:
        # Another layer's fault: what the rules do with packets, only reading them shows.
        words = [f"{words[0]}: from {failed[0].place} {failed[0].met}"]
    else:
        words = [f"{words[0]} from {asked.from_where} got through"]
    words += [read] if read else []
    if down := _proxies_down(s):
        words.append(f"but kube-proxy does not run on {listed(down)}: changes do not get there")
    whole = s.rules and not any(isinstance(each, str) for each in s.rules.values())
    judge = holds if whole or not failed else not_asked
    return judge(_WORD, "; ".join(words))


def _read(s: Snapshot) -> str:
    """What reading the rules gave, in words; "" if none were to be had."""
    unread = {node: why for node, why in s.rules.items() if isinstance(why, str)}
    if unread:
        node, why = next(iter(unread.items()))
        return f"the rules of {listed(unread)} were not read: {why}" if node else why
    if not s.rules:
        return ""
    return f"the rules of {counted(len(s.rules), 'node')} say what the EndpointSlices say"


def _differing(s: Snapshot) -> Layer | None:
    """Nodes whose rules lead elsewhere than to the endpoints."""
    differs: dict[str, str] = {}
    for node, rules in s.rules.items():
        if isinstance(rules, str):
            continue
        if why := next(filter(None, (_wrong(s, port, node, rules) for port in s.ports)), ""):
            differs[node] = why
    if not differs:
        return None
    node, why = next(iter(differs.items()))
    return broken(
        _WORD,
        f"{len(differs)} of {counted(len(s.rules), 'node')} {verb(differs, 'differs', 'differ')}",
        f"the rules of {listed(differs)} are not what the EndpointSlices ask for: on {node}, "
        f"{why}; {_proxy_on(s, node)}",
        _look_at_proxy(s, node),
        lags=True,
    )


def _wrong(s: Snapshot, port: ServicePort, node: str, rules: tuple[ServiceRule, ...]) -> str:
    """How a node's rules for a port differ from its endpoints; "" if they don't."""
    ours = [each for each in rules if (each.port_name, each.protocol) == (port.name, port.protocol)]
    for kind, ip, number in _addresses(s, port):
        rule = next((r for r in ours if (r.ip, r.port) == (ip, number)), None)
        where = f"{ip or 'the node port'}:{number}"
        if rule is None:
            return f"there is no rule for {where}"
        found = {f"{each.ip}:{each.port}" for each in rule.backends}
        ready = [each for each in s.ready_for(port) if ":" not in each.ip]
        here = [each for each in ready if each.node == node]
        # In ipvs mode a node without a Pod keeps all of them, for its own Pods' sake; to a client
        # outside they reply in vain (`syncEndpoint` in pkg/proxy/ipvs).
        local = s.is_local(kind) and not (s.mode == "ipvs" and not here)
        wanted = {each.address for each in (here if local else ready)}
        if found == wanted or (s.hinted and found and found < wanted):
            continue
        if not found:
            return f"{where} leads nowhere, not to {listed(wanted)}"
        if extra := found - wanted:
            return f"{where} leads to {listed(extra)}, which is no ready endpoint"
        return f"{where} does not lead to {listed(wanted - found)}"
    return ""


def _addresses(s: Snapshot, port: ServicePort) -> list[tuple[str, str, int]]:
    """The kinds of IPv4 address that a port has rules for, with address and number."""
    spec = s.service["spec"]
    found = [("cluster", ip, port.port) for ip in s.cluster_ips]
    found += [("external", ip, port.port) for ip in spec.get("externalIPs") or ()]
    if port.node_port:
        found.append(("node", "", port.node_port))
    # An address in proxy mode is left to the load balancer.
    ingress = ((s.service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    found += [
        ("loadbalancer", each["ip"], port.port)
        for each in ingress
        if each.get("ip") and each.get("ipMode") != "Proxy"
    ]
    return [each for each in found if ":" not in each[1]]


def _not_through(s: Snapshot, asked: Asked) -> Layer | None:
    """Requests that fail though the backends answer: the way through the Service is broken."""
    some = [
        (port, backend)
        for port in s.ports
        for backend in backends_of(s, asked, port)
        if backend.state is BackendState.FROM_SOME
    ]
    if some:
        _, backend = some[0]
        return broken(
            _WORD,
            f"{backend.name} answers some places only",
            f"{backend.name} ({backend.endpoint.address}) answers when it is asked directly, but "
            f"not {listed(f'from {place} ({met})' for place, met in backend.met.items())}: the way "
            "to its Pod's address is broken there, whatever the Service's rules say",
            "kubectl get pods -A -o wide --field-selector spec.nodeName="
            f"{next(iter(backend.met)).removeprefix('node ')}",
        )
    failed = [each for each in asked.service if each.errors and _is_blame_of_rules(s, asked, each)]
    if not failed:
        return None
    worst = failed[0]
    question = worst.question
    node = question.node or worst.place.node
    where = _read(s)
    same = f"; {where}" if where else ""
    return broken(
        _WORD,
        f"{worst.met} from {listed(str(each.place) for each in failed)}",
        f"every backend answers when it is asked directly, but {question.target}"
        f"{f' (node {question.node})' if question.node else ''}, asked from {worst.place}, gives "
        f"{worst.met}{same}",
        _look_at_way(s, worst, node),
        lags=True,
    )


def _look_at_way(s: Snapshot, answers: Answers, node: str) -> str:
    if not node:
        return f"kubectl -n {s.namespace} describe service {s.name}"
    if "unreachable" in answers.errors and s.rules:  # read in the nodes: they are containers
        return f"docker exec {node} ip route get {answers.question.address}"
    return _look_at_proxy(s, node)


def _is_blame_of_rules(s: Snapshot, asked: Asked, answers: Answers) -> bool:
    """Whether a failure through the Service is neither a backend's, nor a policy's, nor ARP's."""
    question = answers.question
    port = port_named(s, question.port_name, question.protocol)
    if port is None or is_dropped(s, answers):
        return False
    backends = backends_of(s, asked, port)
    if not backends or not all(each.works for each in backends):
        return False
    # What is silent when it is asked directly is silent through the Service, too.
    quiet = any(each.state is BackendState.SILENT for each in backends)
    if quiet and set(answers.errors) == {SILENT}:
        return False
    if question.goal == "loadbalancer":
        answered = any(each.ip == question.address and each.macs for each in asked.arp)
        return answered or answers.place.kind != "outside"
    return True


def _uneven(s: Snapshot, asked: Asked) -> Layer | None:
    """Somebody answers who should not, or somebody who should does not in so many requests."""
    for each in asked.service:
        port = port_named(s, each.question.port_name, each.question.protocol)
        direct = {
            answers.question.target: answers
            for answers in asked.backends
            if answers.question.port_name == each.question.port_name
            and answers.question.protocol == each.question.protocol
            and answers.who
        }
        known = {who for answers in direct.values() for who in answers.who}
        if port is None or not each.who or len(known) < len(s.ready_for(port)):
            continue
        if strangers := set(each.who) - known:
            return broken(
                _WORD,
                f"{listed(strangers)} answered",
                f"{each.question.target}, asked from {each.place}, is answered by "
                f"{listed(strangers)}, which is none of the Service's backends: other rules take "
                "its traffic",
                f"kubectl get services -A | grep {each.question.address}",
                lags=True,
            )
        if each.question.times < enough(s, port) or s.hinted or s.is_local(each.question.goal):
            continue
        if silent := known - set(each.who):
            return broken(
                _WORD,
                f"{listed(silent)} never answered",
                f"{listed(silent)} {verb(silent, 'is', 'are')} listed and "
                f"{verb(silent, 'answers', 'answer')} when asked directly, but none of "
                f"{each.question.times} requests through {each.question.target} from {each.place} "
                f"got there",
                _look_at_proxy(s, each.place.node),
                lags=True,
            )
    return None


def enough(s: Snapshot, port: ServicePort) -> int:
    """Requests after which every backend of a port has answered, but for a chance of 1e-9.

    0 requests never do where a client sticks to one backend.
    """
    from servicelab.verdict.statistics import requests_to_see_all

    if s.service["spec"].get("sessionAffinity") == "ClientIP":
        return 1 << 30
    return requests_to_see_all(max(1, len(s.ready_for(port))))


def _proxy_pod(s: Snapshot, node: str) -> Json | None:
    return next((pod for pod in s.proxies if node_of(pod) == node), None)


def _proxies_down(s: Snapshot) -> list[str]:
    """Nodes whose kube-proxy is known not to run."""
    if not s.proxies or "kube-proxy" in s.refused:
        return []
    return [
        node for node in s.node_names if (pod := _proxy_pod(s, node)) is None or not is_ready(pod)
    ]


def _proxy_on(s: Snapshot, node: str) -> str:
    pod = _proxy_pod(s, node)
    if pod is None:
        return f"no kube-proxy runs on {node}"
    if not is_ready(pod):
        return f"its kube-proxy {name_of(pod)} is not Ready: {why_not_ready(pod, (), s.nodes)}"
    return f"its kube-proxy {name_of(pod)} runs, and lags or fails"


def _look_at_proxy(s: Snapshot, node: str) -> str:
    pod = _proxy_pod(s, node)
    if pod is None:
        return f"kubectl -n kube-system get pods -o wide --field-selector spec.nodeName={node}"
    return f"kubectl -n kube-system logs {name_of(pod)}"
