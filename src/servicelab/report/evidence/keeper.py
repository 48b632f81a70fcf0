"""Keeps evidence: hears what each claim's test asks, and saves what it left, before it is cleaned.

A plugin of pytest. Where tests run in processes of their own (xdist), each of them saves the
evidence of its tests in the run's folder, which the controller names; the controller writes what
puts it together.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from servicelab.report.run_folder import RunFolder
from servicelab.verdict import Verdict, deadlines
from servicelab.verdict.refuter import refuter_for
from servicelab.verdict.selection import CLAIM_TEST, ClaimTest

if TYPE_CHECKING:
    from servicelab.lab import Lab
    from servicelab.report.evidence.journal import Journal
    from servicelab.report.evidence.sources import Piece

Wanted = Literal["failed", "all", "none"]

#: What a test's report carries besides; both are left to JSON by xdist.
TRAFFIC = "servicelab_traffic"
EVIDENCE = "servicelab_evidence"
_WORKER_FOLDER = "servicelab_run_folder"


@dataclass(eq=False)
class EvidenceKeeper:
    """One for each process that runs tests, and one for xdist's controller.

    Attributes:
        folder: of the run.
        wanted: whose evidence is saved.
    """

    folder: RunFolder
    wanted: Wanted = "failed"
    _journal: Journal | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker where this run's folder is."""
        node.workerinput[_WORKER_FOLDER] = str(self.folder.path)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Hear what a claim's test asks, from its fixtures' first question on."""
        if CLAIM_TEST not in item.stash:
            return (yield)
        from servicelab.report.evidence.journal import Journal
        from servicelab.vantage.hearing import heard_by

        self._journal = Journal()
        try:
            with heard_by(self._journal.hear):
                return (yield)
        finally:
            self._journal = None

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """Leave out what the session asks: whether its cluster is ready, and the like."""
        if self._journal is None or fixturedef.scope != "session":
            return (yield)
        with self._journal.paused():
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """From here on it is the test that asks."""
        if self._journal is not None:
            self._journal.during = "test"

    # First, so that as a wrapper it is the first to see that the test has ended, and the last to
    # see its report: the verdict is in it by then.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Save what is wanted while the test's namespaces still stand."""
        if self._journal is not None and (call.when == "call" or call.excinfo):
            # Whoever looks for the reason of a failure may go on asking in threads of his own.
            self._journal.ended = True
        report = yield
        test = item.stash.get(CLAIM_TEST, None)
        if test is None or self._journal is None or call.when == "teardown":
            return report
        if call.when == "setup" and report.passed:
            return report
        labs = list(labs_of(item))
        traffic = self._journal.traffic(
            _names(labs, self._journal), labs[0].namespace if labs else ""
        )
        setattr(report, TRAFFIC, traffic)
        if self._wants(report, labs):
            self._save(item, test, report, labs)
        return report

    def _wants(self, report: pytest.TestReport, labs: list[Lab]) -> bool:
        if self.wanted == "none":
            return False
        verdict = dict(report.user_properties).get("verdict")
        # What servicelab itself failed at before there was a lab is told once, for all tests.
        if verdict == Verdict.SKIPPED and not labs:
            return False
        return self.wanted == "all" or report.failed or verdict == Verdict.NOT_PROVED

    def _save(
        self, item: pytest.Item, test: ClaimTest, report: pytest.TestReport, labs: list[Lab]
    ) -> None:
        from servicelab.report.evidence.collection import collect
        from servicelab.report.evidence.redaction import Redaction
        from servicelab.report.evidence.sources import Piece, of_cluster, of_lab
        from servicelab.report.page import write_evidence_page

        redaction = Redaction()
        pieces = [*self._from_test(item, test, report)]
        # Where no lab stood up there is nothing to ask the cluster for.
        pieces += [
            Piece(f"namespace {lab.namespace}", ("lab",), partial(of_lab, lab, redaction))
            for lab in labs
        ]
        pieces += [
            Piece(f"cluster {cluster.name}", ("cluster",), partial(of_cluster, cluster, redaction))
            for cluster in {id(lab.cluster): lab.cluster for lab in labs}.values()
        ]
        about = {
            "claim": test.mark.id,
            "mode": test.mode,
            "nodeid": item.nodeid,
            "verdict": dict(report.user_properties).get("verdict", ""),
            "namespaces": [lab.namespace for lab in labs],
        }
        try:
            folder = self.folder.new_evidence(test.mark.id, test.mode)
            evidence = collect(
                pieces,
                folder,
                about=about,
                redaction=redaction,
                seconds=deadlines.current().evidence_saved.seconds,
            )
            write_evidence_page(folder, evidence.to_dict())
        except OSError as error:
            report.sections.append(("evidence", f"could not be saved: {error}"))
            return
        setattr(report, EVIDENCE, folder.relative_to(self.folder.path).as_posix())
        report.sections.append(("evidence", f"{folder / 'index.html'}"))

    def _from_test(
        self, item: pytest.Item, test: ClaimTest, report: pytest.TestReport
    ) -> Iterator[Piece]:
        """What the test itself left."""
        from servicelab.report.evidence.collection import MOST_CHARACTERS
        from servicelab.report.evidence.sources import Piece

        journal = self._journal
        assert journal is not None
        title = "what went wrong" if report.failed else "the test"
        yield Piece(title, ("fault.txt",), partial(_fault, item, test, report))
        yield Piece("requests", ("requests.txt",), journal.table, keep="last")
        if journal.dns:
            yield Piece("DNS answers", ("dns.txt",), lambda: "\n".join(journal.dns), keep="last")
        as_json = partial(journal.to_json_lines, MOST_CHARACTERS)
        yield Piece("requests, for machines", ("requests.jsonl",), as_json)


def evidence_keeper(config: pytest.Config, folder: RunFolder) -> EvidenceKeeper:
    """The plugin for this process; an xdist worker saves in its controller's folder."""
    given = getattr(config, "workerinput", {}).get(_WORKER_FOLDER)
    return EvidenceKeeper(RunFolder(Path(given)) if given else folder, config.option.evidence)


def labs_of(item: pytest.Item) -> Iterator[Lab]:
    """The labs that stand for a test: its own, then those that it shares with others."""
    from servicelab.lab.plugin import OPEN_LABS

    shared = "shared_lab" in getattr(item, "fixturenames", ())
    for node in reversed(item.listchain()):
        if node is item or shared:
            yield from node.stash.get(OPEN_LABS, ())


def _names(labs: list[Lab], journal: Journal) -> dict[str, str]:
    """What the addresses that were asked belong to; a name is a nicety, so it may be missing."""
    if not any(flow.kind in ("http", "tcp", "udp") for flow in journal.flows):
        return {}
    from servicelab.report.evidence.names import names_of

    return {address: name for lab in labs for address, name in names_of(lab).items()}


def _fault(item: pytest.Item, test: ClaimTest, report: pytest.TestReport) -> str:
    properties = dict(report.user_properties)
    refuter = refuter_for(item)
    parts = [
        f"{test.mark.id} ({test.mode}): {properties.get('verdict', report.outcome)}",
        item.nodeid,
        f"refuted: {refuter.why}" if refuter else "",
        str(properties.get("differs", "")),
        str(properties.get("message", "")),
        str(properties.get("seen", "")),
        report.longreprtext,
        *(f"--- {title}\n{text}" for title, text in report.sections),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
