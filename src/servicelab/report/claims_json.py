"""The claim matrix as JSON, for machines.

```
{
  "schema": 1,
  "servicelab": "0.1.0",
  "run": {"id", "started", "kubernetes_version": "v1.37.0", "cluster", "nodes", "engine", "images",
          "modes": ["iptables"], "seconds": 71.3, "exit_status": 0, "infrastructure": [sentence],
          "refuting": null or the module given to --refute},
  "claims": [                       one entry for each claim and proxy mode that was selected
    {"id": "CIP-03", "lab": "clusterip", "says": "…", "mode": "iptables",
     "verdict": "holds" | "holds, but …" | "changed" | "false" | "not proved" | "skipped",
     "known": null or {"verdict", "detail", "kubernetes", "modes"},
     "differs": "" or how verdict and known differ, one sentence,
     "seen": what was seen, in the test's words,
     "message": why it is not proved or was skipped,
     "seconds": time of its tests without their fixtures,
     "refuter": null or {"expects", "why"}   (only with --refute),
     "tests": [{"nodeid", "verdict", "seen", "message", "differs", "seconds", "setup_seconds",
                "evidence": the folder of what it left, below the run's folder, or "",
                "traffic": [{"kind": "http" | "tcp" | "udp" | "dns" | "resolve", "asked_from",
                             "to", "to_name", "answered_by", "by_pod", "ok", "times"}],
                "charts": [{"title", "x", "unit",
                            "lines": [{"name", "points": [[x, y, low, high]]}]}]}]}
  ],
  "without_test": ["CIP-14"]         claims of a lab that was run in full, without a test
}
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servicelab import __version__
from servicelab.report.results import ClaimResult, ClaimTestResult, RunResults
from servicelab.verdict.catalogue import Known
from servicelab.verdict.refuter import Refuter

SCHEMA = 1


def to_dict(
    results: RunResults,
    run: Mapping[str, Any],
    *,
    refuters: Mapping[str, Refuter] | None = None,
) -> dict[str, Any]:
    """The results as the module's docstring describes them.

    Args:
        results: of the run.
        run: facts about it.
        refuters: of a session that refutes; None in an ordinary one.
    """
    return {
        "schema": SCHEMA,
        "servicelab": __version__,
        "run": {**run, "modes": list(results.modes)},
        "claims": [_claim(result, refuters) for result in results.claims],
        "without_test": [claim.id for claim in results.without_test],
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write it, making the folder if need be; a reader never sees half of it.

    Raises:
        OSError: it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    unfinished.replace(path)


def _claim(result: ClaimResult, refuters: Mapping[str, Refuter] | None) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": result.claim.id,
        "lab": result.lab,
        "says": result.claim.says,
        "mode": result.mode,
        "verdict": str(result.verdict),
        "known": _known(result.known),
        "differs": result.differs,
        "seen": result.seen,
        "message": result.message,
        "seconds": round(result.seconds, 3),
    }
    if refuters is not None:
        refuter = refuters.get(result.claim.id)
        entry["refuter"] = {"expects": refuter.expects, "why": refuter.why} if refuter else None
    entry["tests"] = [_test(test) for test in result.tests]
    return entry


def _test(result: ClaimTestResult) -> dict[str, Any]:
    return {
        "nodeid": result.nodeid,
        "verdict": str(result.verdict),
        "seen": result.seen,
        "message": result.message,
        "differs": result.differs,
        "seconds": round(result.seconds, 3),
        "setup_seconds": round(result.setup_seconds, 3),
        "evidence": result.evidence,
        "traffic": list(result.traffic),
        "charts": list(result.charts),
    }


def _known(known: Known | None) -> dict[str, Any] | None:
    if known is None:
        return None
    return {
        "verdict": str(known.verdict),
        "detail": known.detail,
        "kubernetes": known.kubernetes,
        "modes": list(known.modes),
    }
