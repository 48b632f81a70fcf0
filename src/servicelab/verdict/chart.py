"""Figures that a test measured at several sizes: for a table in the terminal, and for a drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Point(NamedTuple):
    """One figure.

    Attributes:
        x: where it was measured.
        y: the figure.
        low, high: what it lies between; both are `y` where nothing is said of that.
    """

    x: float
    y: float
    low: float
    high: float


def point(x: float, y: float, low: float | None = None, high: float | None = None) -> Point:
    """A figure, with what it lies between if that is known."""
    return Point(x, y, y if low is None else low, y if high is None else high)


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one axis.

    Attributes:
        title: what was measured.
        x: what is told off along the axis, such as "Services".
        unit: of the figures, such as "ms".
        lines: the figures of each line, by its name.
    """

    title: str
    x: str
    unit: str
    lines: Mapping[str, Sequence[Point]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The chart as claims.json holds it."""
        return {
            "title": self.title,
            "x": self.x,
            "unit": self.unit,
            "lines": [
                {"name": name, "points": [list(each) for each in points]}
                for name, points in self.lines.items()
            ],
        }

    @classmethod
    def from_json(cls, wire: Mapping[str, Any]) -> Chart:
        """Read back what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: something else did.
        """
        return cls(
            title=str(wire["title"]),
            x=str(wire["x"]),
            unit=str(wire["unit"]),
            lines={
                str(line["name"]): tuple(Point(*map(float, each)) for each in line["points"])
                for line in wire["lines"]
            },
        )

    def rows(self) -> list[list[str]]:
        """The chart as a table: a head, then a row for each x."""
        head = [self.x, *self.lines]
        found = [{each.x: each.y for each in points} for points in self.lines.values()]
        places = sorted({x for line in found for x in line})
        return [
            head,
            *(
                [f"{x:,g}", *("-" if x not in line else figure(line[x]) for line in found)]
                for x in places
            ),
        ]


def figure(value: float) -> str:
    """A figure in words, to three digits."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
