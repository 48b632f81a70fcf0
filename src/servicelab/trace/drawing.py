"""A trace as a text drawing: the packet runs down a rail, from the client to the Pod."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from servicelab.report.safe_text import printable
from servicelab.trace.hop import Check, Hop
from servicelab.trace.result import Backend, Trace

_NARROWEST = 60
_INDENT = 11
_HOOKS = {
    "prerouting": "prerouting: what comes to the node, before it is routed",
    "output": "output: what the node's own processes send",
    "routing": "routing: is it for the node itself?",
    "input": "input: what is for the node itself",
    "forward": "forward: what goes through the node",
    "postrouting": "postrouting: what leaves the node",
    "ip_vs": "ip_vs: the kernel's load balancer",
    "dns": "DNS in place of rules",
}
_MARKS = {True: ("✔", "green"), False: ("✘", "bold red"), None: ("-", "yellow")}


def draw(trace: Trace, console: Console | None = None) -> None:
    """Print a trace.

    Args:
        trace: what was found.
        console: where to; standard output by default.
    """
    to = console or Console(highlight=False)
    for line in _lines(trace, max(_NARROWEST, to.width)):
        to.print(line, soft_wrap=True, highlight=False)


def _lines(trace: Trace, width: int) -> Iterator[Text]:
    yield from _head(trace, width)
    yield _rail()
    for hook, hops in groupby(trace.hops, key=lambda hop: hop.hook):
        yield Text.assemble(("├── ", "cyan"), (_HOOKS.get(hook, hook), "cyan"))
        for hop in hops:
            yield from _hop(hop, width)
        yield _rail()
    yield from _end(trace, width)
    yield Text()
    yield from _proofs(trace.checks, width)
    if trace.connection:
        yield from _wrapped("  entry", trace.connection.line, width, "dim")
    yield Text()
    style = "green" if trace.exit_code == 0 else "bold red"
    for line in wrap(_plain(trace.sentence), width):
        yield Text(line, style)


def _head(trace: Trace, width: int) -> Iterator[Text]:
    place = trace.place
    kind = {"pod": "Pod", "node": "node", "outside": "host outside"}.get(place.kind, place.kind)
    where = f" on {place.node}" if place.kind == "pod" and place.node else ""
    yield Text.assemble(
        ("● ", "bold"), (_plain(f"{kind} {place.name}"), "bold"), f" ({place.ip}){where}"
    )
    yield Text(_plain(f"│ asks {trace.service}: {trace.asked}/{trace.protocol}"))
    if trace.node:
        why = f"rules of {trace.node}, {trace.mode} mode: {trace.why_node}"
        for line in wrap(_plain(why), width - 2):
            yield Text.assemble(("│ ", ""), (line, "dim"))


def _hop(hop: Hop, width: int) -> Iterator[Text]:
    title = f"{hop.table} {hop.chain}".strip()
    proof = hop.proof
    yield Text.assemble("│ ", ("▶ ", "cyan"), (_plain(title), "bold"))
    yield from _wrapped("because", hop.matched, width, bar="│ ")
    yield from _wrapped("it", hop.does, width, bar="│ ")
    for line in hop.rule.splitlines():
        yield from _wrapped("rule", line, width, "dim", bar="│ ")
    if proof:
        yield from _wrapped("proof", proof, width, "green", bar="│ ")
    if hop.told is False:
        yield from _wrapped("but", "the kernel did not tell of this rule", width, "red", bar="│ ")
    if hop.moved is False:
        yield from _wrapped("but", "its counter did not move", width, "red", bar="│ ")


def _end(trace: Trace, width: int) -> Iterator[Text]:
    match trace.way.end:
        case "backend" if trace.backend:
            others = [each for each in trace.choices if each != trace.backend]
            for other in others:
                yield Text(f"├╌╌ {_named(other)}, not chosen", "dim")
            yield Text.assemble("╰─▶ ", ("● ", "bold green"), (_named(trace.backend), "bold"))
            if trace.connection:
                yield Text(f"      sees the client as {trace.connection.seen_as}")
        case "rejected":
            yield Text.assemble("╰─✘ ", ("refused: the client gets an ICMP error", "bold red"))
        case "dropped":
            yield Text.assemble("╰─✘ ", ("dropped: the client gets no answer", "bold red"))
        case "name":
            yield Text("╰─▶ the client connects to what the name leads to, without a rule")
        case _:
            yield Text.assemble("╰─? ", ("no rule translated it", "bold red"))


def _named(backend: Backend) -> str:
    where = f" on {backend.node}" if backend.node else ""
    return _plain(f"{backend.pod or 'no Pod'} ({backend.address}){where}")


def _proofs(checks: tuple[Check, ...], width: int) -> Iterator[Text]:
    for check in checks:
        mark, style = _MARKS[check.holds]
        lines = wrap(_plain(check.says), width - 14) or [""]
        yield Text.assemble((mark, style), f" {check.name:<11} {lines[0]}")
        for line in lines[1:]:
            yield Text(" " * 14 + line)


def _wrapped(
    label: str, text: str, width: int, style: str = "", *, bar: str = ""
) -> Iterator[Text]:
    """A label with its text beside it, over as many lines as it takes."""
    if not text:
        return
    room = _INDENT if bar else 14
    lines = wrap(_plain(text), max(20, width - room - len(bar)), break_on_hyphens=False)
    for place, line in enumerate(lines):
        head = f"  {label}" if place == 0 and bar else (label if place == 0 else "")
        yield Text.assemble(bar, f"{head:<{room}}", (line, style))


def _rail() -> Text:
    return Text("│")


def _plain(text: str) -> str:
    """Text that steers no terminal."""
    return printable(text).replace("\n", " ")
