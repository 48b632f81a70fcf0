"""A trace as a picture: the client above, the node's rules in a frame, its endpoints below.

Everything is laid out here; the template only writes it down, and escapes what it writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap

from servicelab.report.safe_text import one_line
from servicelab.trace.hop import Hop
from servicelab.trace.result import Trace

# Lengths are in pixels at the size that the picture is drawn for.
_MARGIN = 12
_LINE = 17
_PAD = 9
_GAP = 20
_BELOW = 64
"""From the frame to the endpoints: room for a line of text, then for the fork."""
_HEAD = 30
_LETTER = 6.7
"""A letter's width on average, at 12 pixels."""
_BOLD_LETTER = 7.3
_ENDPOINT_HEIGHT = 62


@dataclass(frozen=True, slots=True)
class Layout:
    """What a picture is drawn for.

    Attributes:
        width: of the picture.
        rail: where its packet runs down, from the left.
        most_endpoints: how many of them stand side by side.
    """

    width: float
    rail: float
    most_endpoints: int

    @property
    def box(self) -> float:
        """The width of a rule's box."""
        return self.width - 4 * _MARGIN

    @property
    def client(self) -> float:
        """The width of the client's box."""
        return min(380, self.width - 2 * _MARGIN)


WIDE = Layout(720, 360, 4)
PHONE = Layout(350, 36, 3)


def _letters(width: float, letter: float = _LETTER) -> int:
    """Letters in a line of a box that is so wide."""
    return int((width - 2 * _MARGIN) / letter)


@dataclass(frozen=True, slots=True)
class Box:
    """A box with lines of text.

    Attributes:
        x, y, width, height: of the box.
        style: the class of the style sheet.
        lines: its text, the first one bold; each with its own height and class.
        whole: what a line left out, as a title; "" if nothing.
    """

    x: float
    y: float
    width: float
    height: float
    style: str
    lines: Sequence[tuple[float, str, str]]
    whole: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow, with words beside it.

    Attributes:
        path: an SVG path.
        style: the class of the style sheet.
        words: beside it; "" for none.
        x, y: where the words begin.
    """

    path: str
    style: str
    words: str = ""
    x: float = 0
    y: float = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole picture.

    Attributes:
        width, height: of it.
        boxes: in the order that they are drawn.
        arrows: drawn before the boxes.
        words: the whole picture in words.
    """

    width: float
    height: float
    boxes: Sequence[Box]
    arrows: Sequence[Arrow]
    words: str


def picture(trace: Trace, layout: Layout = WIDE) -> Picture:
    """Lay a trace out."""
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    client = _client(trace, layout)
    boxes.append(client)
    top = client.y + client.height + 40
    frame_at, y = len(boxes), top + _HEAD
    rail = layout.rail
    # Words that stand beside the rail where it is on the left, not across it.
    beside_rail = 2 * _MARGIN if rail > layout.width / 3 else rail
    last: float | None = None
    for hook, hops in groupby(trace.hops, key=lambda hop: hop.hook):
        y += _LINE
        boxes.append(Box(beside_rail, y - _LINE, 0, 0, "hook", [(y - 4, "hook", hook)]))
        for hop in hops:
            box = _hop(hop, y, layout)
            if last is not None:
                arrows.append(Arrow(f"M{rail:g},{last} V{y - 2}", "on"))
            boxes.append(box)
            last = y + box.height
            y = last + _GAP
    bottom = y - _GAP + _PAD if trace.hops else y
    frame = layout.width - 2 * _MARGIN
    title = _cut(_frame_title(trace), _letters(frame, _BOLD_LETTER))
    boxes.insert(
        frame_at,
        Box(_MARGIN, top, frame, bottom - top, "frame", [(top + 20, "b", title)]),
    )
    went_in = f"M{rail:g},{client.y + client.height} V{top - 2}"
    arrows.append(Arrow(went_in, "on", _way_in(trace), rail + 12, top - 16))
    below = bottom + _BELOW
    ends = list(_ends(trace, below, layout))
    for box, style in ends:
        boxes.append(box)
        arrows.append(_to_end(box, style, bottom, below, rail))
    if trace.backend and trace.connection:
        reply = trace.connection.reply
        out = f"{reply.destination.ip} → {reply.source}"
        at = beside_rail + _MARGIN
        arrows.append(Arrow("", "", f"the packet is now {out}", at, bottom + 18))
    height = below + (ends[0][0].height if ends else 0) + _MARGIN
    return Picture(layout.width, height, boxes, arrows, trace.sentence)


def _client(trace: Trace, layout: Layout) -> Box:
    place = trace.place
    kind = {"pod": "Pod", "node": "node", "outside": "host outside"}.get(place.kind, place.kind)
    where = f"on {place.node}" if place.kind == "pod" and place.node else ""
    width = layout.client
    x = (layout.width - width) / 2
    name, address = f"{kind} {place.name}", f"{place.ip} {where}".strip()
    lines = [
        (_MARGIN + 19, "b", _cut(name, _letters(width, _BOLD_LETTER))),
        (_MARGIN + 19 + _LINE, "", _cut(address, _letters(width))),
    ]
    return Box(x, _MARGIN, width, 2 * _LINE + 2 * _PAD, "end", lines)


def _hop(hop: Hop, y: float, layout: Layout) -> Box:
    name = f"{hop.table} {hop.chain}".strip()
    letters = _letters(layout.box)
    shown = _cut(name, _letters(layout.box, _BOLD_LETTER))
    texts = [("b", shown)]
    texts += [("", line) for line in wrap(one_line(hop.matched, 400), letters)]
    texts += [("does", line) for line in wrap(one_line(f"→ {hop.does}", 400), letters)]
    if hop.proof:
        texts.append(("proof", hop.proof))
    if hop.told is False or hop.moved is False:
        texts.append(("bad", "the proof is missing: see below"))
    lines = [(y + _PAD + 10 + place * _LINE, *text) for place, text in enumerate(texts)]
    height = len(texts) * _LINE + 2 * _PAD - 4
    style = "hop bad" if hop.told is False or hop.moved is False else f"hop {_kind(hop)}"
    return Box(2 * _MARGIN, y, layout.box, height, style, lines, name if shown != name else "")


def _kind(hop: Hop) -> str:
    """The class of a hop's box: what changes the packet stands out."""
    word = hop.verdict.partition(" ")[0]
    if word in ("dnat", "masquerade", "mark") or hop.does.startswith("writes the mark"):
        return "changes"
    return "ends" if word in ("reject", "drop") else ""


def _ends(trace: Trace, y: float, layout: Layout) -> Iterator[tuple[Box, str]]:
    """The boxes below the frame, and the class of the arrow to each."""
    if trace.backend is None:
        words = {
            "rejected": ("refused", "the client gets an ICMP error"),
            "dropped": ("dropped", "the client gets no answer"),
            "name": ("what the name leads to", "the client connects there, without a rule"),
        }.get(trace.way.end, ("nobody", "no rule translated the packet"))
        style = "end" if trace.way.end == "name" else "end bad"
        yield _end(words[0], words[1:], 0, 1, y, style, layout), "on" if style == "end" else "bad"
        return
    chosen = trace.backend
    others = [each for each in trace.choices if each != chosen]
    shown = sorted([chosen, *others[: layout.most_endpoints - 1]], key=lambda each: each.address)
    for place, each in enumerate(shown):
        style, arrow = ("end chosen", "on") if each == chosen else ("end", "off")
        lines = [str(each.address), each.node]
        yield _end(each.pod or "no Pod", lines, place, len(shown), y, style, layout), arrow


def _end(
    name: str, lines: Sequence[str], place: int, total: int, y: float, style: str, layout: Layout
) -> Box:
    room = layout.width - 2 * _MARGIN - (total - 1) * 8
    width = min(room / total, max(room / 2, 250))
    x = (layout.width - total * width - (total - 1) * 8) / 2 + place * (width + 8)
    letters = _letters(width + _MARGIN)
    shown = _cut(name, _letters(width, _BOLD_LETTER))
    texts = [(y + 20, "b", shown)]
    texts += [(y + 20 + (at + 1) * _LINE, "", _cut(line, letters)) for at, line in enumerate(lines)]
    return Box(x, y, width, _ENDPOINT_HEIGHT, style, texts, name if shown != name else "")


def _to_end(box: Box, style: str, bottom: float, below: float, rail: float) -> Arrow:
    x = box.x + box.width / 2
    fork = bottom + _BELOW / 2
    bend = (fork + below) / 2
    way = f"M{rail:g},{bottom} V{fork} C{rail:g},{bend:g} {x:g},{bend:g} {x:g},{below - 2}"
    return Arrow(way, style)


def _frame_title(trace: Trace) -> str:
    if trace.way.end == "name":
        return "the cluster DNS"
    if not trace.node:
        return "no node"
    return f"{trace.node}: its rules, {trace.mode} mode"


def _way_in(trace: Trace) -> str:
    if trace.connection:
        return str(trace.connection.original)
    return f"{trace.place.ip} → {trace.asked}"


def _cut(text: str, most: int) -> str:
    """Text of so many letters: its beginning, and its end, which tells names apart."""
    plain = one_line(text, 4 * most)
    if len(plain) <= most:
        return plain
    end = most // 3
    return f"{plain[: most - end - 1]}…{plain[-end:]}"
