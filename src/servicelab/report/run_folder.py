"""A run's folder: its results, its report, and its evidence; found again by its name.

```
.servicelab/runs/
  latest -> 2026-11-21-144336-7f3a    the run that ended last
  2026-11-21-144336-7f3a/
    claims.json                       as servicelab.report.claims_json describes it
    report.html                       the same for people
    evidence/cip-04-iptables/         what a claim's test left: index.html, and its files
```
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from servicelab.errors import UsageError
from servicelab.report import claims_json
from servicelab.report.safe_text import file_name

#: Where runs' folders lie unless told otherwise, below the current folder.
RUNS = Path(".servicelab", "runs")
LATEST = "latest"
CLAIMS = "claims.json"
REPORT = "report.html"
EVIDENCE = "evidence"

_NAME = re.compile(r"\d{4}-\d\d-\d\d-\d{6}-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder; it comes about with the first thing that is written.

    Attributes:
        path: where it lies.
    """

    path: Path

    @classmethod
    def new(cls, runs: Path, now: datetime | None = None) -> RunFolder:
        """A folder for a run that starts now, by the local clock; nothing is made yet."""
        started = now or datetime.now()
        return cls(runs / f"{started:%Y-%m-%d-%H%M%S}-{uuid.uuid4().hex[:4]}")

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def report(self) -> Path:
        """Its page."""
        return self.path / REPORT

    def new_evidence(self, claim: str, mode: str) -> Path:
        """Make an empty folder for what one test left.

        Other tests of the claim, in other processes perhaps, get folders of their own.

        Args:
            claim: the claim's id.
            mode: the proxy mode.

        Raises:
            OSError: it can't be made.
        """
        name = file_name(f"{claim}-{mode}")
        (self.path / EVIDENCE).mkdir(parents=True, exist_ok=True)
        for number in count(1):
            folder = self.path / EVIDENCE / (name if number == 1 else f"{name}-{number}")
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
        raise AssertionError("numbers have no end")

    def write(self, content: Mapping[str, Any]) -> None:
        """Write the results and the page, and let `latest` lead here.

        Raises:
            OSError: something can't be written.
        """
        claims_json.write(self.path / CLAIMS, content)
        self.write_report(content)
        link = self.path.parent / LATEST
        unfinished = link.with_name(f".{LATEST}-{self.name}")
        # A file system without symbolic links still has the newest name.
        with suppress(OSError):
            unfinished.symlink_to(self.name)
            unfinished.replace(link)

    def write_report(self, content: Mapping[str, Any], target: Path | None = None) -> Path:
        """Write the page alone.

        Args:
            content: the results, as claims.json holds them.
            target: another place for it; its links lead to this folder's evidence all the same.

        Returns:
            Where it is.

        Raises:
            OSError: it can't be written.
        """
        from servicelab.report.page import render_run

        page = target or self.report
        way = os.path.relpath(self.path, page.parent)
        base = "" if way == "." else f"{quote(way)}/"
        html = render_run(content, self.path, base=base)
        page.parent.mkdir(parents=True, exist_ok=True)
        unfinished = page.with_name(f".{page.name}.part")
        unfinished.write_text(html, "utf-8")
        unfinished.replace(page)
        return page

    def read(self) -> dict[str, Any]:
        """The run's results.

        Raises:
            UsageError: they are not there, or are not what claims.json should be.
        """
        file = self.path / CLAIMS
        try:
            content = json.loads(file.read_text("utf-8"))
        except OSError as error:
            raise UsageError(
                f"{file} can't be read: {error.strerror}", remedy="name a run that ended"
            ) from error
        except ValueError as error:
            raise UsageError(f"{file} is not JSON: {error}") from error
        if not isinstance(content, dict) or content.get("schema") != claims_json.SCHEMA:
            raise UsageError(
                f"{file} is not what this version of servicelab writes "
                f"(its schema is not {claims_json.SCHEMA})"
            )
        return content


def find_run(name: str, runs: Path) -> RunFolder:
    """A run by its name, the end of its name, "latest", or the path of its folder.

    Raises:
        UsageError: there is none, or several.
    """
    given = Path(name)
    if (given / CLAIMS).is_file():
        return RunFolder(given)
    found = sorted(path for path in runs.glob("*") if _NAME.fullmatch(path.name))
    if name == LATEST:
        link = runs / LATEST
        if (link / CLAIMS).is_file():
            return RunFolder(runs / link.resolve().name)
        finished = [path for path in found if (path / CLAIMS).is_file()]
        if not finished:
            raise UsageError(
                f"no run has left results in {runs}", remedy="run a lab: servicelab run"
            )
        return RunFolder(finished[-1])
    matching = [path for path in found if path.name == name or path.name.endswith(f"-{name}")]
    if len(matching) == 1:
        return RunFolder(matching[0])
    if matching:
        names = ", ".join(path.name for path in matching)
        raise UsageError(f"{name} may be {names}", remedy="give more of the name")
    last = ", ".join(path.name for path in found[-3:])
    raise UsageError(
        f"there is no run {name} in {runs}",
        remedy=f"name one of its folders, such as {last}" if last else "run a lab: servicelab run",
    )


def runs_in(runs: Path) -> list[RunFolder]:
    """The runs that left results, the newest first."""
    found = sorted(path for path in runs.glob("*") if _NAME.fullmatch(path.name))
    return [RunFolder(path) for path in reversed(found) if (path / CLAIMS).is_file()]


def remake_report(name: str, runs: Path, target: Path | None = None) -> Path:
    """Make a run's page again from its results.

    Args:
        name: of the run, as `find_run` takes it.
        runs: where the runs' folders are.
        target: where the page goes; by default into the run's folder.

    Returns:
        Where the page is.

    Raises:
        UsageError: there is no such run, its results can't be used, or the page can't be written.
    """
    folder = find_run(name, runs)
    content = folder.read()
    try:
        return folder.write_report(content, target)
    except OSError as error:
        raise UsageError(
            f"{target or folder.report} can't be written: {error.strerror}",
            remedy="name another file with --html",
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{folder.path / CLAIMS} is not what servicelab writes: "
            f"{type(error).__name__}: {error}",
            remedy="run the labs again",
        ) from error
