"""Figures over sizes, as a drawing: everything is laid out here, the template only writes it down.

Both axes begin at zero: what is flat looks flat, and what doubles looks it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servicelab.report.page.pictures import COLOURS
from servicelab.report.safe_text import one_line
from servicelab.verdict.chart import Chart, Point, figure

# Lengths are in pixels at the size the drawing is made for, that of a phone's page.
WIDTH = 340
HEIGHT = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 326, 10, 160
_TICKS = 4
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis, in pixels, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of figures.

    Attributes:
        name: what it is of.
        style: the class of the style sheet.
        path: an SVG path through its figures.
        band: an SVG path around what they lie between; "" if nothing is said of that.
        dots: where its figures are, each with its words.
    """

    name: str
    style: str
    path: str
    band: str
    dots: Sequence[tuple[float, float, str]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart, laid out.

    Attributes:
        title, x, unit: as the chart's.
        across, up: the marks of the axes.
        lines: in the chart's order.
    """

    title: str
    x: str
    unit: str
    across: Sequence[Tick]
    up: Sequence[Tick]
    lines: Sequence[Line]

    @property
    def words(self) -> str:
        """The whole drawing in words."""
        lines = (
            f"{line.name}: {', '.join(words for *_, words in line.dots)}" for line in self.lines
        )
        return f"{self.title}, {self.unit}. {'; '.join(lines)}"


def drawings(charts: Iterable[Mapping[str, Any]]) -> list[Drawing]:
    """The charts of the results, laid out; what can't be one is left out."""
    found = []
    for wire in charts:
        try:
            chart = Chart.from_json(wire)
        except (KeyError, TypeError, ValueError):
            continue
        points = [each for line in chart.lines.values() for each in line]
        if points and all(math.isfinite(number) for each in points for number in each):
            found.append(_drawing(chart, points))
    return found


def _drawing(chart: Chart, points: Sequence[Point]) -> Drawing:
    across = _ticks(max(each.x for each in points))
    up = _ticks(max(each.high for each in points))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            round(_LEFT + (_RIGHT - _LEFT) * max(x, 0) / across[-1], 1),
            round(_BOTTOM - (_BOTTOM - _TOP) * max(y, 0) / up[-1], 1),
        )

    def line(number: int, name: str, of: Sequence[Point]) -> Line:
        ordered = sorted(of)
        around = [place(each.x, each.high) for each in ordered]
        around += [place(each.x, each.low) for each in reversed(ordered)]
        known = any(each.low < each.high for each in ordered)
        return Line(
            name=one_line(name, _LONGEST),
            style=f"c{number % COLOURS}",
            path=_path([place(each.x, each.y) for each in ordered]),
            band=f"{_path(around)} Z" if known else "",
            dots=[(*place(each.x, each.y), f"{figure(each.y)} at {each.x:,g}") for each in ordered],
        )

    return Drawing(
        title=one_line(chart.title, _LONGEST),
        x=one_line(chart.x, _LONGEST),
        unit=one_line(chart.unit, _LONGEST),
        across=[Tick(place(value, 0)[0], f"{value:,g}") for value in across],
        up=[Tick(place(0, value)[1], f"{value:,g}") for value in up],
        lines=[line(n, name, of) for n, (name, of) in enumerate(chart.lines.items()) if of],
    )


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g},{y:g}" for x, y in places)


def _ticks(most: float) -> list[float]:
    """Round numbers from zero to what is at least the most."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= rough * (1 - 1e-9))
    return [float(f"{number * step:.12g}") for number in range(math.ceil(most / step - 1e-9) + 1)]
