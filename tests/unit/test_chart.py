"""Figures are told in a table and drawn to scale."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from servicelab.report.page.charts import HEIGHT, WIDTH, drawings
from servicelab.verdict.chart import Chart, figure, point

CHART = Chart(
    "time to connect",
    "Services",
    "ms",
    {
        "the last": [point(100, 0.2, 0.1, 0.3), point(5000, 0.8)],
        "the first": [point(100, 0.1), point(2500, 0.1234)],
    },
)


def test_rows() -> None:
    """A row for each size, a column for each line; what was not measured is a dash."""
    assert CHART.rows() == [
        ["Services", "the last", "the first"],
        ["100", "0.2", "0.1"],
        ["2,500", "-", "0.123"],
        ["5,000", "0.8", "-"],
    ]


def test_it_survives_json() -> None:
    """What claims.json holds is the same chart."""
    wire = json.loads(json.dumps(CHART.to_json()))

    assert Chart.from_json(wire).to_json() == CHART.to_json()


@pytest.mark.parametrize(
    ("value", "told"), [(0, "0"), (0.01234, "0.0123"), (12.345, "12.3"), (12345.6, "12,346")]
)
def test_figure(value: float, told: str) -> None:
    """Three digits, and no fraction where they are all whole."""
    assert figure(value) == told


def test_drawing() -> None:
    """Both axes begin at zero and reach beyond the largest figure; lines lie between them."""
    (drawn,) = drawings([CHART.to_json()])

    assert [tick.text for tick in drawn.across] == ["0", "2,000", "4,000", "6,000"]
    assert [tick.text for tick in drawn.up] == ["0", "0.2", "0.4", "0.6", "0.8"]
    assert [line.name for line in drawn.lines] == ["the last", "the first"]
    assert [line.style for line in drawn.lines] == ["c0", "c1"]
    assert [bool(line.band) for line in drawn.lines] == [True, False]
    for line in drawn.lines:
        for x, y in re.findall(r"([\d.]+),([\d.]+)", line.path + line.band):
            assert 0 <= float(x) <= WIDTH
            assert 0 <= float(y) <= HEIGHT
    first, second = drawn.lines[0].dots
    assert second[1] < first[1], "what is more stands higher"
    assert "the last: 0.2 at 100, 0.8 at 5,000" in drawn.words


@pytest.mark.parametrize(
    "wire",
    [
        {},
        {"title": "t", "x": "x", "unit": "s", "lines": []},
        {"title": "t", "x": "x", "unit": "s", "lines": [{"name": "l", "points": [[1, 2]]}]},
        {"title": "t", "x": "x", "unit": "s", "lines": [{"name": "l", "points": [[1, 2, 3, "y"]]}]},
        {"title": "t", "x": "x", "unit": "s", "lines": [{"name": "l", "points": [["nan"] * 4]}]},
        {"title": "t", "x": "x", "unit": "s", "lines": "none"},
    ],
)
def test_what_is_no_chart_is_left_out(wire: dict[str, Any]) -> None:
    """Results of others may hold anything."""
    assert drawings([wire, CHART.to_json()])[0].title == "time to connect"


def test_figures_that_are_all_zero() -> None:
    """There is an axis even then."""
    (drawn,) = drawings([Chart("nothing", "Services", "s", {"a": [point(0, 0)]}).to_json()])

    assert [tick.text for tick in drawn.up] == ["0", "1"]
