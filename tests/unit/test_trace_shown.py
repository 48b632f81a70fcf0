"""A trace as a person sees it: in a terminal of 80 columns, and as a page."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from servicelab.errors import UsageError
from servicelab.trace.drawing import draw
from servicelab.trace.page import check_writable, render_page, write_page
from servicelab.trace.picture import PHONE, WIDE, Layout, picture
from servicelab.trace.result import Backend, Trace

from .trace_records import NAMES, Record


def drawn(trace: Trace, width: int = 80) -> str:
    """What is printed."""
    out = io.StringIO()
    draw(trace, Console(file=out, width=width, color_system=None, highlight=False))
    return out.getvalue()


def hostile(text: str) -> Trace:
    """A trace in which everything that others name has a certain text."""
    trace = Record.named("iptables-outside").trace()
    hops = [replace(hop, rule=text, matched=text, chain=text) for hop in trace.hops]
    assert trace.backend is not None
    backend = Backend(trace.backend.address, text, text)
    return replace(
        trace, service=text, way=trace.way.with_hops(hops), backend=backend, choices=(backend,)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_fits_a_terminal(name: str) -> None:
    """No line is wider than 80 columns, and the whole is told: client, hops, proofs, end."""
    trace = Record.named(name).trace()

    text = drawn(trace)

    # A chain's name, which can't be broken, may be longer.
    assert all(len(line) <= 80 or len(line.split()) < 6 for line in text.splitlines()), text
    assert text.count("▶ ") >= len(trace.hops)
    assert text.count("✔") == sum(check.holds is True for check in trace.checks)
    for check in trace.checks:
        assert check.name in text
    if trace.backend:
        assert f"● {trace.backend.pod} ({trace.backend.address})" in text
        assert text.count("not chosen") == len(trace.choices) - 1
    else:
        assert "╰─✘ " in text


def test_a_contradiction_is_told_at_the_hop_and_below() -> None:
    """A learner sees where the proof is missing."""
    record = Record.named("iptables-pod")
    changed = record.data["changed"]["iptables"]
    still = {number: line for number, line in changed.items() if "-A KUBE-SEP-" not in line}

    text = drawn(record.change(changed={"iptables": still}).trace())

    assert "its counter did not move" in text
    assert "✘ counters" in text


def test_nothing_that_others_write_steers_the_terminal() -> None:
    """Control codes are written out."""
    text = drawn(hostile("\x1b[31m\x07evil\r"))

    assert "\x1b" not in text
    assert "\x07" not in text


def test_nothing_that_others_write_becomes_markup() -> None:
    """The page escapes everything, and its policy forbids scripts besides."""
    html = render_page(hostile("<script>alert(1)</script>"))

    assert "<script" not in html
    assert "default-src 'none'" in html


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_one_file_that_fetches_nothing(name: str) -> None:
    """It can be sent around, and shows each hop with its rule."""
    trace = Record.named(name).trace()

    html = render_page(trace)

    assert not re.search(r'(src|href)="|url\((?!#)|@import|https?://', html)
    assert html.count("<li><h3>") == len(trace.hops)
    svgs = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(svgs) == 2
    for svg in svgs:
        ElementTree.fromstring(svg)  # well formed
    ids = re.findall(r'id="([^"]*)"', html)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("layout", [WIDE, PHONE])
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_laid_out_from_top_to_bottom(name: str, layout: Layout) -> None:
    """No box leaves the picture, none of the hops' covers another, and the end is below."""
    trace = Record.named(name).trace()

    drawing = picture(trace, layout)

    for box in drawing.boxes:
        assert box.x >= 0
        assert box.x + box.width <= layout.width
        assert box.y + box.height <= drawing.height
    hops = [box for box in drawing.boxes if box.style.startswith("hop")]
    assert len(hops) == len(trace.hops)
    for above, below in pairwise(hops):
        assert above.y + above.height < below.y
    ends = [box for box in drawing.boxes if box.style.startswith("end")]
    assert all(end.y > hops[-1].y + hops[-1].height for end in ends[1:])
    chosen = [box for box in drawing.boxes if "chosen" in box.style]
    assert len(chosen) == (1 if trace.backend else 0)


def test_a_page_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    """What can't be written is refused, before anything is asked too."""
    trace = Record.named("iptables-pod").trace()
    write_page(trace, tmp_path / "way.html")

    assert "shop/web" in (tmp_path / "way.html").read_text("utf-8")
    with pytest.raises(UsageError, match="there is no folder"):
        check_writable(tmp_path / "gone" / "way.html")
    with pytest.raises(UsageError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(UsageError, match="can't be written"):
        write_page(trace, tmp_path)
