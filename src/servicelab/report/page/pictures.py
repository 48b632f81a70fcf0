"""Where packets went, as a picture: who asked on the left, who answered on the right.

Everything is laid out here; the template only writes it down, and escapes what it writes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from servicelab.report.safe_text import one_line

# Lengths are in pixels at the size the picture is drawn for, that of a phone's page.
WIDTH = 340
_ROW = 22
_LEFT = 112
_RIGHT = 176
_THINNEST = 1.2
_THICKEST = 9.0
_MANY = 30
"""Requests from which on a band may be as thick as can be; one alone is a line."""
_LEFT_LETTERS = 17
_RIGHT_LETTERS = 22
_MOST_ASKERS = 6
_MOST_ANSWERERS = 8
#: As many as the style sheet has.
COLOURS = 6

_FEWEST = 5
_REST = "others"
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Label:
    """A name beside the picture.

    Attributes:
        y: where its middle is.
        text: as much of it as there is room for.
        whole: all of it.
        style: the class of the style sheet.
    """

    y: float
    text: str
    whole: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """A band from one who asked to one who answered.

    Attributes:
        path: an SVG path.
        width: of the band.
        style: the class of the style sheet.
        words: the same in words.
    """

    path: str
    width: float
    style: str
    words: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Requests to one address.

    Attributes:
        name: what the address belongs to; "" if that isn't known.
        to: kind and address, such as "http 10.96.0.7:8080".
        times: how many requests.
        height: of the picture.
        askers, answerers: names on the left and right.
        streams: the bands between them, thickest first.
    """

    name: str
    to: str
    times: int
    height: float
    askers: Sequence[Label]
    answerers: Sequence[Label]
    streams: Sequence[Stream]

    @property
    def words(self) -> str:
        """The whole picture in words."""
        return "; ".join(stream.words for stream in self.streams)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a name server or resolver said, or what came of a request or two.

    Attributes:
        asked: the question.
        said: the answer, who answered, or the error.
        asked_from: the vantage points that got it.
        times: how often.
    """

    asked: str
    said: str
    asked_from: str
    times: int


class _Flow(NamedTuple):
    kind: str
    asked_from: str
    to: str
    to_name: str
    answered_by: str
    ok: bool
    times: int


def pictures(traffic: Iterable[Mapping[str, Any]]) -> tuple[list[Picture], list[Answer]]:
    """Where a test's packets went.

    Returns:
        A picture for each address whose requests are worth one, the most asked first; and what was
        said about names, with what came of the requests that have no picture.
    """
    by_address: dict[tuple[str, str, str], list[_Flow]] = {}
    told: dict[tuple[str, str], list[_Flow]] = {}
    for flow in _read(traffic):
        if flow.kind in ("http", "tcp", "udp"):
            by_address.setdefault((flow.kind, flow.to, flow.to_name), []).append(flow)
        elif flow.kind in ("dns", "resolve"):
            told.setdefault((flow.to, flow.answered_by), []).append(flow)
    drawn = []
    for (kind, to, name), flows in by_address.items():
        if _worth_a_picture(flows):
            drawn.append(_picture(flows))
        else:
            asked = f"{kind} {to} ({name})" if name else f"{kind} {to}"
            told[asked, flows[0].answered_by] = flows
    drawn.sort(key=lambda picture: -picture.times)
    return drawn, [_answer(asked, said, flows) for (asked, said), flows in told.items()]


def _answer(asked: str, said: str, flows: Sequence[_Flow]) -> Answer:
    asked_from = ", ".join(dict.fromkeys(flow.asked_from for flow in flows))
    return Answer(asked, said, asked_from, sum(flow.times for flow in flows))


def _worth_a_picture(flows: Sequence[_Flow]) -> bool:
    """Several ways, or one that many requests took; else a line says as much."""
    return len(flows) > 1 or flows[0].times >= _FEWEST


def _read(traffic: Iterable[Mapping[str, Any]]) -> Iterator[_Flow]:
    """The flows of the results; what can't be one is left out."""
    for flow in traffic:
        times = flow.get("times")
        if isinstance(times, int) and times > 0:
            words = ("kind", "asked_from", "to", "to_name", "answered_by")
            kind, *rest = (one_line(str(flow.get(word, "")), _LONGEST) for word in words)
            asked_from, to, to_name, answered_by = rest
            yield _Flow(kind, asked_from, to, to_name, answered_by, bool(flow.get("ok")), times)


def _picture(flows: Sequence[_Flow]) -> Picture:
    askers = _told_apart(((flow.asked_from, flow.times) for flow in flows), _MOST_ASKERS)
    answerers = _told_apart(((flow.answered_by, flow.times) for flow in flows), _MOST_ANSWERERS)
    bands: Counter[tuple[str, str]] = Counter()
    for flow in flows:
        asker = flow.asked_from if flow.asked_from in askers else _REST
        bands[asker, flow.answered_by if flow.answered_by in answerers else _REST] += flow.times
    silent = {flow.answered_by for flow in flows if not flow.ok}
    left = list(dict.fromkeys(asker for asker, _ in bands))
    # Who did not answer stands below those who did.
    right = sorted({who for _, who in bands}, key=lambda who: (who == _REST, who in silent, who))
    height = max(len(left), len(right)) * _ROW + 4
    asker_y, answerer_y = _spread(left, height), _spread(right, height)
    styles = _styles(right, silent)
    counts = {who: sum(times for (_, by), times in bands.items() if by == who) for who in right}
    total = sum(counts.values())
    thickest = 2 + (_THICKEST - 2) * min(1, total / _MANY)
    return Picture(
        name=flows[0].to_name,
        to=f"{flows[0].kind} {flows[0].to}",
        times=total,
        height=height,
        askers=[Label(asker_y[each], _middle_out(each, _LEFT_LETTERS), each) for each in left],
        answerers=[_answerer(who, counts[who], answerer_y[who], styles[who]) for who in right],
        streams=[
            Stream(
                _curve(asker_y[asker], answerer_y[who]),
                round(max(_THINNEST, thickest * math.sqrt(times / total)), 1),
                styles[who],
                f"{asker} to {who}: {times}",
            )
            for (asker, who), times in bands.most_common()
        ],
    )


def _answerer(name: str, times: int, y: float, style: str) -> Label:
    count = f"{times} \N{MULTIPLICATION SIGN} "
    return Label(y, count + _middle_out(name, _RIGHT_LETTERS - len(count)), count + name, style)


def _told_apart(counted: Iterable[tuple[str, int]], most: int) -> set[str]:
    """The names that stand for themselves; if there are too many, the rest are `others`."""
    counts: Counter[str] = Counter()
    for name, times in counted:
        counts[name] += times
    few = counts.most_common(most if len(counts) <= most else most - 1)
    return {name for name, _ in few}


def _styles(answerers: Sequence[str], silent: set[str]) -> dict[str, str]:
    speaking = [each for each in answerers if each not in silent and each != _REST]
    styles = {each: f"c{n % COLOURS}" for n, each in enumerate(speaking)}
    return {each: styles.get(each, "silent" if each in silent else "rest") for each in answerers}


def _spread(names: Sequence[str], height: float) -> dict[str, float]:
    """Names evenly from top to bottom."""
    step = height / len(names)
    return {name: round(step * (n + 0.5), 1) for n, name in enumerate(names)}


def _curve(left: float, right: float) -> str:
    middle = (_LEFT + _RIGHT) / 2
    return f"M{_LEFT},{left} C{middle:g},{left} {middle:g},{right} {_RIGHT},{right}"


def _middle_out(name: str, most: int) -> str:
    """A name of so many letters: its beginning, and its end, which tells Pods apart."""
    if len(name) <= most:
        return name
    end = min(8, most // 2)
    return f"{name[: most - end - 1]}…{name[-end:]}"
