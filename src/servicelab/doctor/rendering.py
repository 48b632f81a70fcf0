"""Findings for a person to read."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from servicelab.doctor.finding import Finding, Level

STYLES: dict[Level, str] = {"ok": "green", "note": "cyan", "warn": "yellow", "error": "bold red"}


def render(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print the findings as a table, the remedy below what was seen."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("looked at", no_wrap=True)
    table.add_column("seen", overflow="fold")
    for finding in findings:
        style = STYLES[finding.level]
        remedy = f"\n[dim]→ {_plain(finding.remedy)}[/dim]" if finding.remedy else ""
        level = f"[{style}]{finding.level}[/{style}]"
        table.add_row(level, finding.name, _plain(finding.seen) + remedy)
    (console or Console()).print(table)


def _plain(text: str) -> str:
    """Text whose brackets are no markup."""
    return text.replace("[", r"\[")
