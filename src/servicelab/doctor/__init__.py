"""What this machine offers and lacks, each with its remedy, in two seconds."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from servicelab.doctor.finding import LEVELS, Finding, Level
from servicelab.errors import ServicelabError

__all__ = ["LEVELS", "Finding", "Level", "diagnose", "render"]

# All checks together; with the start of Python the command stays below two seconds.
TIME_LIMIT_S = 1.6

Check = Callable[[], list[Finding]]


def diagnose(
    checks: Sequence[tuple[str, Check]] | None = None, *, limit: float = TIME_LIMIT_S
) -> list[Finding]:
    """Look at the machine; changes nothing.

    Args:
        checks: name and function of each; all of servicelab's by default.
        limit: seconds after which a check that has not come back is reported as such.
    """
    chosen = _all_checks() if checks is None else checks
    results: dict[str, list[Finding]] = {}
    # Daemon threads: one that hangs on a dead Docker must not keep the command from ending.
    threads = [
        threading.Thread(target=_run, args=(name, check, results), daemon=True)
        for name, check in chosen
    ]
    end = time.monotonic() + limit
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {limit:g} s"
    return [
        finding
        for name, _ in chosen
        for finding in results.get(name, [Finding(name, "warn", late, "look at it by hand")])
    ]


def render(findings: Sequence[Finding]) -> None:
    """Print the findings as a table."""
    from servicelab.doctor import rendering

    rendering.render(findings)


def _run(name: str, check: Check, results: dict[str, list[Finding]]) -> None:
    try:
        results[name] = check()
    except (OSError, ValueError, ServicelabError, subprocess.SubprocessError) as error:
        results[name] = [Finding(name, "warn", f"could not be looked at: {error}")]


def _all_checks() -> list[tuple[str, Check]]:
    from servicelab.doctor import kernel, machine, network, running

    def kernel_findings() -> list[Finding]:
        seen = kernel.read_kernel()
        return [*kernel.container_findings(seen), *kernel.mode_findings(seen)]

    return [
        ("machine", machine.machine_findings),
        ("engine", running.engine_findings),
        ("kernel", kernel_findings),
        ("subnets", network.network_findings),
        ("registry", network.registry_findings),
        ("leftovers", running.leftover_findings),
    ]
