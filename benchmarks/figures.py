"""A figure: several measurements of one thing, told as median and range."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = Path(".servicelab/benchmarks")


@dataclass
class Figure:
    """Measurements of one thing.

    Attributes:
        name: what was measured.
        unit: "s", "MiB" or "" for a ratio.
        values: each measurement, in the order made.
        target: what it should not exceed; None if there is no such figure.
    """

    name: str
    unit: str = "s"
    values: list[float] = field(default_factory=list)
    target: float | None = None

    @property
    def median(self) -> float:
        """The middle measurement."""
        return statistics.median(self.values)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the wall-clock seconds of what happens inside; a failure adds nothing."""
        start = time.monotonic()
        yield
        self.values.append(time.monotonic() - start)

    def row(self) -> str:
        """One row of the Markdown table."""
        unit = f" {self.unit}" if self.unit else ""
        spread = f"{min(self.values):.2f} to {max(self.values):.2f}"
        target = "" if self.target is None else f"≤ {self.target:g}{unit}"
        return (
            f"| {self.name} | {self.median:.2f}{unit} | {spread} | {len(self.values)} | {target} |"
        )


HEADER = "| what | median | range | runs | aim |\n|---|---|---|---|---|"


def write(name: str, figures: list[Figure]) -> None:
    """Print the figures as a table, and keep them for `python -m benchmarks table`."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(
        json.dumps([asdict(figure) for figure in figures], indent=1)
    )
    print(HEADER)
    for figure in figures:
        print(figure.row())


def read_all() -> list[Figure]:
    """Every figure that was kept, by benchmark name."""
    files = sorted(RESULTS.glob("*.json"))
    return [Figure(**entry) for file in files for entry in json.loads(file.read_text())]
