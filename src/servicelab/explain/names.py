"""DNS: does the cluster DNS say of the Service's name what it should?"""

from __future__ import annotations

from ipaddress import ip_address

from servicelab.explain.answers import Asked, NameAnswer
from servicelab.explain.layer import Layer, Word, broken, holds, not_asked, not_needed
from servicelab.explain.objects import is_ready
from servicelab.explain.snapshot import Snapshot
from servicelab.explain.wording import counted, listed

_WORD = Word.DNS


def dns_layer(s: Snapshot, asked: Asked) -> Layer:
    """Does the name lead to the Service's address, to its Pods, or to its external name?"""
    if asked.places and all(place.kind == "outside" for place in asked.places):
        return not_needed(_WORD, "outside, nobody asks the cluster DNS")
    if not asked.names:
        if s.dns_service is None and "kube-dns" not in s.refused:
            return broken(
                _WORD,
                "no Service kube-dns",
                "the cluster has no Service kube-dns in kube-system, so that no name resolves",
                "kubectl -n kube-system get services,pods",
            )
        return not_asked(_WORD, asked.why_not or "the cluster DNS was not asked")
    return _unanswered(s, asked) or _external_name(s, asked) or _addresses(s, asked)


def _unanswered(s: Snapshot, asked: Asked) -> Layer | None:
    mute = [each for each in asked.names if each.error]
    if not mute:
        return None
    ready = sum(is_ready(pod) for pod in s.dns_pods)
    pods = f"{ready} of {counted(len(s.dns_pods), 'CoreDNS Pod')} Ready"
    return broken(
        _WORD,
        f"{mute[0].error} from {listed(str(each.place) for each in mute)}",
        f"the cluster DNS does not answer, asked from {listed(str(each.place) for each in mute)} "
        f"({mute[0].error}); {pods}",
        "kubectl -n kube-system get pods -l k8s-app=kube-dns -o wide",
    )


def _external_name(s: Snapshot, asked: Asked) -> Layer | None:
    if not s.is_external_name:
        return None
    target = str(s.service["spec"].get("externalName", "")).rstrip(".")
    look = f"kubectl -n {s.namespace} get service {s.name} -o jsonpath='{{.spec.externalName}}'"
    for each in asked.names:
        if each.addresses:
            continue
        said = each.rcode if each.rcode != "NOERROR" else "no address"
        if _is_address(target):
            wrong = (
                f"externalName is {target}, an address: DNS takes it for a name, which does not "
                "exist; make a Service without selector and an EndpointSlice by hand instead"
            )
        elif target not in each.aliases and each.rcode == "NXDOMAIN" and not each.aliases:
            wrong = f"the cluster DNS does not know {s.dns_name} ({said})"
        else:
            wrong = (
                f"{s.dns_name} leads to {target}, as it should, but {target} does not resolve: "
                f"the cluster DNS says {said}{_no_service(s, target)}"
            )
        return broken(_WORD, f"{said}, asked from {each.place}", wrong, look)
    first = asked.names[0]
    if target.lower() not in [alias.lower() for alias in first.aliases]:
        return broken(
            _WORD,
            f"leads to {listed(first.aliases) or 'no other name'}",
            f"{s.dns_name} should lead to {target}, and the cluster DNS says "
            f"{' → '.join(first.aliases) or 'otherwise'}",
            look,
        )
    chain = " → ".join([*first.aliases, listed(first.addresses)])
    return holds(_WORD, f"{s.dns_name} → {chain}, asked from {asked.from_where}")


def _no_service(s: Snapshot, target: str) -> str:
    if not target.endswith(f".svc.{s.domain}"):
        return ""
    return ": there is no such Service, or it has no ready Pods"


def _addresses(s: Snapshot, asked: Asked) -> Layer:
    wanted, whose = _wanted(s)
    for each in asked.names:
        if set(each.addresses) != wanted:
            return broken(
                _WORD,
                _said(each),
                f"{s.dns_name} should be {whose} {listed(wanted) or '(none)'}, and the cluster "
                f"DNS, asked from {each.place}, says {_said(each)}",
                "kubectl -n kube-system logs -l k8s-app=kube-dns",
                lags=True,
            )
    return holds(
        _WORD,
        f"{s.dns_name} is {whose} {listed(wanted) or '(none)'}, asked from {asked.from_where}",
    )


def _wanted(s: Snapshot) -> tuple[set[str], str]:
    if not s.is_headless:
        return {ip for ip in s.cluster_ips if ":" not in ip}, "the ClusterIP"
    found = {each.ip for each in s.endpoints if each.ready and ":" not in each.ip}
    return found, "the ready Pods'"


def _said(answer: NameAnswer) -> str:
    return listed(answer.addresses) or (answer.rcode if answer.rcode != "NOERROR" else "nothing")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
