"""A walk for a person to read: the layers as a table, and below it what is broken."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from servicelab.explain.layer import State
from servicelab.explain.walk import NONE, Walk

_STYLES = {
    State.HOLDS: "green",
    State.BROKEN: "bold red",
    State.NOT_ASKED: "yellow",
    State.NOT_NEEDED: "dim",
}


def render(walk: Walk, console: Console | None = None) -> None:
    """Print a walk.

    Args:
        walk: what was found.
        console: where to; standard output by default.
    """
    to = console or Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("seen", overflow="fold")
    for layer in walk.layers:
        style = _STYLES[layer.state]
        seen = _plain(layer.seen)
        table.add_row(
            str(layer.word),
            f"[{style}]{layer.state}[/{style}]",
            f"[dim]{seen}[/dim]" if layer.state is State.NOT_NEEDED else seen,
        )
    to.print(table)
    to.print()
    word = walk.first_broken or "not known"
    style = {NONE: "green", "not known": "yellow"}.get(word, "bold red")
    to.print(f"first broken layer: [{style}]{word}[/{style}]")
    to.print(f"  {_plain(walk.sentence)}", highlight=False)
    if walk.try_:
        # A command must be copied as it stands: not wrapped, not coloured.
        to.print(f"  try: {_plain(walk.try_)}", highlight=False, soft_wrap=True)


def _plain(text: str) -> str:
    """Text whose brackets are no markup."""
    return text.replace("[", r"\[")
