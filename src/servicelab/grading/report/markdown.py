"""A grade as Markdown: for a job's summary, or a comment."""

from __future__ import annotations

import re

from servicelab.grading.report.text import headline
from servicelab.grading.results import Grade, State
from servicelab.report.safe_text import one_line, printable

_MARKS = {State.PASSED: "✅", State.FAILED: "❌", State.HELD_BACK: "⏸️"}
_LONGEST = 300


def render(grade: Grade) -> str:
    """All of a grade; nothing that a submission says can be more than text in it."""
    lines = [f"### {plain(headline(grade))}", ""]
    if grade.reason:
        lines += [*_fenced(grade.reason), ""]
    lines += [f"- note: {plain(remark)}" for remark in grade.remarks]
    if grade.remarks:
        lines.append("")
    if grade.criteria:
        lines += ["| | points | criterion | what was seen |", "|---|---|---|---|"]
        for each in grade.criteria:
            seen = each.actual if each.state is State.PASSED else each.why or each.actual
            points = f"{each.earned}/{each.points}" if each.points else ""
            lines.append(
                f"| {_MARKS[each.state]} | {points} "
                f"| **{plain(each.id)}** {plain(each.says)} | {plain(seen)} |"
            )
        lines.append("")
    missed = [each for each in grade.criteria if each.state is State.FAILED]
    for each in missed:
        told = [("expected", each.expected), ("seen", each.actual), ("", each.waited_for)]
        lines += [
            f"<details><summary>{plain(each.id)}: expected and seen</summary>",
            "",
            *_fenced("\n".join(f"{label:<10}{text}".strip() for label, text in told if text)),
            "",
            "</details>",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def plain(text: str) -> str:
    """A text that Markdown shows as it is: no link, mention, table cell or HTML of a stranger's."""
    line = one_line(text, _LONGEST)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", line)
    # An @ or a # before a word would call a person or an issue.
    return line.replace("@", "@\u200b").replace("://", ":\u200b//")


def _fenced(text: str) -> list[str]:
    """A block of plain text; its fence is longer than any row of back ticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *printable(text).splitlines(), fence]
