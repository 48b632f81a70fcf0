"""Selector and labels: does the Service ask for Pods, and are there any that it means?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from servicelab.explain.layer import Layer, Word, broken, holds, not_asked, not_needed
from servicelab.explain.objects import Json, labels_of, matches, name_of
from servicelab.explain.snapshot import CONTROLLER, MANAGED_BY, Snapshot
from servicelab.explain.wording import counted, listed, pairs, verb

#: Two words that are so alike are taken for a slip of the pen: `web` and `webb` are at 0.86.
_ALIKE = 0.6
#: Pods whose labels fit this well are named.
_NEAR = 0.5


@dataclass(frozen=True, slots=True)
class NearMiss:
    """Pods that a selector would match, but for a label.

    Attributes:
        pods: the Pods, all with the same labels in question.
        instead: what they have where the selector asks for something else: `app=web`, `no tier`.
        values: the values among it.
        missed: the values that the selector asks for there.
        fits: how many pairs of the selector they do have.
    """

    pods: tuple[Json, ...]
    instead: tuple[str, ...]
    values: frozenset[str]
    missed: frozenset[str]
    fits: int

    def __str__(self) -> str:
        have = verb(self.pods, "has", "have")
        return (
            f"{counted(len(self.pods), 'Pod')} {have} {' and '.join(self.instead)} "
            f"({listed(map(name_of, self.pods))})"
        )


def selector_layer(s: Snapshot) -> Layer:
    """Does the Service ask for Pods, and for some that exist or are to exist?"""
    word = Word.SELECTOR
    if s.is_external_name:
        return not_needed(word, "a Service of type ExternalName has no Pods")
    if not s.selector:
        return _without_selector(s)
    if s.selected:
        return holds(word, f"{pairs(s.selector)}")
    if workload := template_matched(s):
        return holds(word, f"{pairs(s.selector)}, as in the template of {workload}")
    if s.past:
        return holds(word, pairs(s.selector))
    near = near_misses(s)
    if near and blames_labels(s, near[0]):
        return holds(word, pairs(s.selector))
    if near:
        return broken(
            word,
            f"{pairs(s.selector)} matches no Pod",
            f"{near[0]}, the selector asks {pairs(s.selector)}: correct the Service's selector",
            f"kubectl -n {s.namespace} get pods --show-labels",
        )
    return broken(
        word,
        f"{pairs(s.selector)} matches no Pod",
        f"no Pod in the namespace {s.namespace} has {pairs(s.selector)}: {_what_there_is(s)}",
        f"kubectl -n {s.namespace} get pods --show-labels",
    )


def labels_layer(s: Snapshot) -> Layer:
    """Do the Pods have the labels that the selector asks for?"""
    word = Word.LABELS
    if s.is_external_name:
        return not_needed(word, "a Service of type ExternalName has no Pods")
    if not s.selector:
        return not_needed(word, "without a selector, labels play no part")
    if s.selected:
        near = near_misses(s)
        beside = f"; beside them {near[0]}" if near else ""
        count = counted(len(s.selected), "Pod")
        return holds(word, f"{count} {verb(s.selected, 'has', 'have')} them{beside}")
    if workload := template_matched(s):
        return holds(word, f"the Pods of {workload} would have them")
    if s.past:
        return holds(word, f"{listed(map(name_of, s.past))} had them")
    near = near_misses(s)
    if near and blames_labels(s, near[0]):
        return broken(
            word,
            f"no Pod has {pairs(s.selector)}",
            f"{near[0]}, the selector asks {pairs(s.selector)}: correct the Pods' labels",
            f"kubectl -n {s.namespace} get pods --show-labels",
        )
    return not_asked(word, "the selector matches no Pod")


def near_misses(s: Snapshot) -> list[NearMiss]:
    """The Pods whose labels come close to the selector, the closest first, like with like."""
    grouped: dict[tuple[str, ...], list[Json]] = {}
    scores: dict[tuple[str, ...], float] = {}
    for pod in s.candidates:
        if matches(s.selector, labels_of(pod)):
            continue
        instead, score = _compared(s.selector, labels_of(pod))
        if score < _NEAR and _is_called(s, pod):
            score = _NEAR
        if score >= _NEAR:
            grouped.setdefault(instead, []).append(pod)
            scores[instead] = score
    order = sorted(grouped, key=lambda instead: (-scores[instead], -len(grouped[instead])))
    return [_near_miss(s.selector, instead, grouped[instead]) for instead in order]


def blames_labels(s: Snapshot, near: NearMiss) -> bool:
    """Whether the Pods' labels are at fault, and not the selector.

    The two differ, and neither says which is wrong; what stands around them is asked: the one
    that is called as the Service or the Pods' workload is, is right. If that does not tell, the
    labels are at fault where they fit in part, else the selector.
    """
    known = {s.name, *labels_of(s.service).values()}
    for pod in near.pods:
        known |= _names_around(s, pod)
    selector_fits, labels_fit = bool(near.missed & known), bool(near.values & known)
    return selector_fits if selector_fits != labels_fit else near.fits > 0


def template_matched(s: Snapshot) -> str:
    """The workload whose Pods the selector would match, if it had any: `Deployment web`."""
    for each in s.workloads:
        template = (each.get("spec") or {}).get("template") or {}
        labels = (template.get("metadata") or {}).get("labels") or {}
        if labels and matches(s.selector, labels):
            return f"{each.get('kind', 'workload')} {name_of(each)}"
    return ""


def _without_selector(s: Snapshot) -> Layer:
    word = Word.SELECTOR
    left = [each for each in s.own_slices if labels_of(each).get(MANAGED_BY) == CONTROLLER]
    if left:
        return broken(
            word,
            f"none, and {counted(len(left), 'EndpointSlice')} from the time when there was one",
            "the Service has no selector any more: its endpoints stay as they are, whatever "
            "becomes of the Pods; give it a selector",
            f"kubectl -n {s.namespace} get service {s.name} -o yaml",
        )
    if s.own_slices:
        made = counted(len(s.own_slices), "EndpointSlice")
        return holds(word, f"none; {made} made by hand")
    if lookalikes(s):
        return holds(word, "none; endpoints are to be made by hand")
    return broken(
        word,
        "none, and no EndpointSlice names the Service",
        "the Service has no selector, so that nobody looks for its Pods, and nobody has made an "
        "EndpointSlice for it by hand",
        f"kubectl -n {s.namespace} get service {s.name} -o yaml",
    )


def lookalikes(s: Snapshot) -> tuple[Json, ...]:
    """EndpointSlices that are called like the Service, but do not say that they are its own."""
    return tuple(
        each
        for each in s.slices
        if each not in s.own_slices
        and MANAGED_BY not in labels_of(each)
        and (name_of(each) == s.name or name_of(each).startswith(f"{s.name}-"))
    )


def _what_there_is(s: Snapshot) -> str:
    """What labels Pods do have under the selector's keys."""
    if not s.candidates:
        return "it has no Pods"
    found = Counter(
        f"{key}={labels_of(pod)[key]}"
        for pod in s.candidates
        for key in s.selector
        if key in labels_of(pod)
    )
    if not found:
        return f"none of its {counted(len(s.candidates), 'Pod')} has a label " + listed(s.selector)
    return "there is " + listed(
        f"{pair} ({counted(count, 'Pod')})" for pair, count in found.items()
    )


def _compared(
    selector: Mapping[str, str], labels: Mapping[str, str]
) -> tuple[tuple[str, ...], float]:
    """What labels have instead of a selector's pairs, and how close they come, 0 to 1."""
    instead: list[str] = []
    score = 0.0
    for key, value in selector.items():
        if labels.get(key) == value:
            score += 1
            continue
        other, closeness = _instead(key, value, labels)
        instead.append(other)
        score += closeness
    return tuple(instead), score / len(selector)


def _instead(key: str, value: str, labels: Mapping[str, str]) -> tuple[str, float]:
    if key in labels:
        alike = _alike(labels[key], value)
        return f"{key}={labels[key]}", alike if alike >= _ALIKE else 0
    for other, theirs in labels.items():
        if theirs == value:
            return f"{other}={theirs}", 0.7
    for other, theirs in labels.items():
        if _alike(other, key) >= _ALIKE and _alike(theirs, value) >= _ALIKE:
            return f"{other}={theirs}", _ALIKE
    return f"no {key}", 0


def _alike(one: str, other: str) -> float:
    if one.casefold() == other.casefold():
        return 0.9
    shorter, longer = sorted((one.casefold(), other.casefold()), key=len)
    # `web` and `web-v2`, but not `b` and `web`.
    if len(shorter) > 1 and longer.startswith(shorter):
        return 0.8
    return SequenceMatcher(None, one.casefold(), other.casefold()).ratio()


def _near_miss(selector: Mapping[str, str], instead: tuple[str, ...], pods: list[Json]) -> NearMiss:
    labels = labels_of(pods[0])
    missed = {key: value for key, value in selector.items() if labels.get(key) != value}
    return NearMiss(
        tuple(pods),
        instead,
        frozenset(each.partition("=")[2] for each in instead if "=" in each),
        frozenset(missed.values()),
        len(selector) - len(missed),
    )


def _is_called(s: Snapshot, pod: Json) -> bool:
    """Whether a Pod, or its workload, is called what the selector asks for."""
    labels = labels_of(pod)
    missed = {value for key, value in s.selector.items() if labels.get(key) != value}
    return bool(missed & _names_around(s, pod))


def _names_around(s: Snapshot, pod: Json) -> set[str]:
    """What a Pod and its workload are called, and the labels that the workload itself has."""
    found = {name_of(pod)}
    for owner in pod["metadata"].get("ownerReferences") or ():
        # A ReplicaSet's name is its Deployment's and a hash.
        found |= {owner["name"], owner["name"].rpartition("-")[0]}
    for each in s.workloads:
        if name_of(each) in found:
            found |= set(labels_of(each).values())
    return found
