"""Records what each test found out, judges it, and writes the report at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from servicelab.errors import InfrastructureError, ServicelabError, UsageError
from servicelab.interrupts import terminate_like_ctrl_c
from servicelab.report import claims_json, matrix
from servicelab.report.evidence.keeper import EVIDENCE, TRAFFIC
from servicelab.report.results import ClaimTestResult, PlannedTest, RunResults, combine
from servicelab.report.run_folder import RunFolder
from servicelab.verdict.catalogue import Catalogue, Claim, catalogue_above
from servicelab.verdict.measurement import Measurement, difference
from servicelab.verdict.message import heading
from servicelab.verdict.outcome import Verdict
from servicelab.verdict.refuter import REFUTERS
from servicelab.verdict.run_facts import run_facts
from servicelab.verdict.selection import CLAIM_TEST, ClaimTest, Selection

MEASUREMENT = pytest.StashKey[Measurement]()
#: What a test's report carries besides, as JSON.
CHARTS = "servicelab_charts"

#: What a report carries if servicelab itself stopped the test: its kind and the sentence.
_STOPPED = "servicelab_stopped"
_INFRASTRUCTURE = "infrastructure"
_USAGE = "usage"
_EXIT = {_INFRASTRUCTURE: 3, _USAGE: int(pytest.ExitCode.USAGE_ERROR)}


@dataclass(eq=False)
class Recorder:
    """One for each session, and under xdist one for each worker and the controller.

    Attributes:
        selection: knows what was collected.
        claims_json: where the JSON goes too; None for nowhere else.
        run_folder: where results, report and evidence go; None for nowhere.
        refuting: the module given to --refute; "" in an ordinary session.
        planned: tests that were selected.
        done: results by test.
        stopped: sentences of infrastructure and usage errors, by kind, with their tests.
        failed_otherwise: did any test fail for another reason?
        uses_cluster: may this session have made a cluster?
        results: all of it, once the session has ended.
        reported: the page that was written.
    """

    selection: Selection
    claims_json: Path | None = None
    run_folder: RunFolder | None = None
    refuting: str = ""
    planned: dict[str, PlannedTest] = field(default_factory=dict)
    done: dict[str, ClaimTestResult] = field(default_factory=dict)
    stopped: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    setup_seconds: dict[str, float] = field(default_factory=dict)
    without_test: list[str] = field(default_factory=list)
    for_other_modes: list[str] = field(default_factory=list)
    failed_otherwise: bool = False
    uses_cluster: bool = False
    results: RunResults | None = None
    reported: Path | None = None
    started: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=lambda: datetime.now().astimezone())

    # In the process that runs the tests.

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take down what is going to be run."""
        for item in session.items:
            self.uses_cluster |= "kind_cluster" in getattr(item, "fixturenames", ())
            if test := item.stash.get(CLAIM_TEST, None):
                self.planned[item.nodeid] = PlannedTest(
                    item.nodeid, test.mark.id, test.mode, test.of
                )
        self.without_test = self.selection.without_test(session.config)
        self.for_other_modes = self.selection.for_other_modes(session.config)
        if self.uses_cluster and not session.config.option.collectonly:
            # A run that is told to end deletes its cluster first, as on Ctrl-C.
            terminate_like_ctrl_c()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Judge what a claim's test measured."""
        test = item.stash.get(CLAIM_TEST, None)
        if test is None:
            return (yield)
        with heading(f"{test.mark.id} not proved ({test.mode})"):
            result = yield
        measured = item.stash.get(MEASUREMENT, Measurement())
        version = run_facts(item.config).kubernetes_version
        item.user_properties += [
            ("verdict", str(measured.verdict)),
            ("seen", measured.seen),
            ("kubernetes", version),
        ]
        if differs := _difference(test, measured, version):
            item.user_properties.append(("differs", differs))
            pytest.fail(differs, pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the report say what came of the claim, and whether servicelab itself failed."""
        report = yield
        if call.when == "call" and (charts := item.stash.get(MEASUREMENT, Measurement()).charts):
            setattr(report, CHARTS, [chart.to_json() for chart in charts])
        error = call.excinfo.value if call.excinfo else None
        if isinstance(error, ServicelabError) and _stops(item, call):
            kind = _USAGE if isinstance(error, UsageError) else _INFRASTRUCTURE
            setattr(report, _STOPPED, [kind, str(error)])
            report.longrepr = f"{kind}: {error}"
        if error is not None and CLAIM_TEST in item.stash and report.when != "teardown":
            properties = dict(item.user_properties)
            if "verdict" not in properties:
                _add(item, report, "verdict", str(_verdict_after(error, report)))
                _add(item, report, "message", _message(error))
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand over to the controller, or put everything together and write it down."""
        config = session.config
        output = getattr(config, "workeroutput", None)
        if output is not None:
            output["servicelab"] = {
                "facts": run_facts(config).to_dict(),
                "planned": [asdict(plan) for plan in self.planned.values()],
                "without_test": self.without_test,
                "for_other_modes": self.for_other_modes,
            }
            return
        if config.option.collectonly:
            return
        if self.uses_cluster:
            self._end_session(config)
        self._finish(session)

    # In the process that reports: the same one, or xdist's controller.

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self) -> None:
        """A worker may make a cluster, and may not live to say so."""
        self.uses_cluster = True
        terminate_like_ctrl_c()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what an xdist worker found out."""
        output = getattr(node, "workeroutput", {}).get("servicelab")
        if output:
            run_facts(node.config).learn(**output["facts"])
            self.planned |= {plan["nodeid"]: PlannedTest(**plan) for plan in output["planned"]}
            self.without_test = output["without_test"]
            self.for_other_modes = output["for_other_modes"]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that can't be collected is a failure of another kind."""
        self.failed_otherwise |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        """Keep what servicelab itself failed at out of the failures: it is told once, below."""
        if kind := getattr(report, _STOPPED, ("", ""))[0]:
            return kind, kind[0].upper(), kind.upper()
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take down a test's result."""
        if report.when == "setup":
            self.setup_seconds[report.nodeid] = report.duration
        if stopped := getattr(report, _STOPPED, None):
            self.stopped.setdefault((stopped[0], stopped[1]), []).append(report.nodeid)
        elif report.failed:
            self.failed_otherwise = True
        properties = {key: str(value) for key, value in report.user_properties}
        if "verdict" not in properties or report.nodeid in self.done:
            return
        self.done[report.nodeid] = ClaimTestResult(
            nodeid=report.nodeid,
            claim=properties["claim"],
            mode=properties["proxy_mode"],
            verdict=Verdict(properties["verdict"]),
            seen=properties.get("seen", ""),
            message=properties.get("message", ""),
            differs=properties.get("differs", ""),
            seconds=report.duration if report.when == "call" else 0,
            setup_seconds=self.setup_seconds.get(report.nodeid, 0),
            evidence=getattr(report, EVIDENCE, ""),
            traffic=getattr(report, TRAFFIC, ()),
            charts=getattr(report, CHARTS, ()),
        )

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Forget what is no longer needed."""
        self.setup_seconds.pop(nodeid, None)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the matrix, and each infrastructure error once."""
        writer = terminalreporter
        if self.results and self.results.claims:
            version = run_facts(writer.config).kubernetes_version
            writer.section(f"claims on Kubernetes {version}" if version else "claims", sep="=")
            for line in matrix.render(self.results, width=writer._tw.fullwidth):
                for piece in line:
                    writer.write(piece.text, **({piece.style: True} if piece.style else {}))
                writer.write("\n")
        for (kind, sentence), nodeids in self.stopped.items():
            writer.section(kind, sep="=", red=True)
            writer.write_line(sentence)
            if nodeids:
                count = len(set(nodeids))
                tests = f"{count} tests" if count > 1 else "1 test"
                writer.write_line(f"{tests} could not run for it, first {nodeids[0]}")
        if self.reported:
            writer.write_line(f"report: {self.reported}")

    def _end_session(self, config: pytest.Config) -> None:
        try:
            from servicelab.fixtures import end_session
        except ModuleNotFoundError:
            return
        try:
            end_session(config)
        except ServicelabError as error:
            self.stopped.setdefault((_INFRASTRUCTURE, str(error)), [])

    def _finish(self, session: pytest.Session) -> None:
        config = session.config
        facts = run_facts(config)
        self.results = combine(
            self.planned.values(),
            self.done.values(),
            self._catalogues(config.rootpath),
            modes=self.selection.modes,
            kubernetes_version=facts.kubernetes_version,
            without_test=self.without_test,
            for_other_modes=self.for_other_modes,
        )
        self._write(session)
        session.exitstatus = self._exit_status(int(session.exitstatus))

    def _write(self, session: pytest.Session) -> None:
        assert self.results
        run = {
            "id": self.run_folder.name if self.run_folder else "",
            "started": self.started_at.isoformat(timespec="seconds"),
            **run_facts(session.config).to_dict(),
            "seconds": round(time.monotonic() - self.started, 1),
            "exit_status": self._exit_status(int(session.exitstatus)),
            "infrastructure": [sentence for _, sentence in self.stopped],
            "refuting": self.refuting or None,
        }
        refuters = session.config.stash.get(REFUTERS, None)
        content = claims_json.to_dict(self.results, run, refuters=refuters)
        if self.claims_json:
            self._try(self.claims_json, partial(claims_json.write, self.claims_json, content))
        if self.run_folder and self.results.claims:
            self._try(self.run_folder.path, partial(self.run_folder.write, content))
            self.reported = self.run_folder.report if self.run_folder.report.exists() else None

    def _try(self, target: Path, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self.stopped.setdefault((_INFRASTRUCTURE, f"{target} can't be written: {error}"), [])

    def _exit_status(self, status: int) -> int:
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return status
        if self.stopped and not self.failed_otherwise:
            return max(_EXIT[kind] for kind, _ in self.stopped)
        if self.results and self.results.differ:
            return int(pytest.ExitCode.TESTS_FAILED)
        return status

    def _catalogues(self, root: Path) -> list[Catalogue]:
        files = [root / nodeid.partition("::")[0] for nodeid in {**self.planned, **self.done}]
        found = [catalogue_above(file.absolute(), root=root) for file in dict.fromkeys(files)]
        return list({catalogue.path: catalogue for catalogue in found if catalogue}.values())


def _difference(test: ClaimTest, measured: Measurement, version: str) -> str:
    claim = test.catalogue.claims[test.mark.id] if test.catalogue else Claim(test.mark.id, "")
    # One of several tests may prove a part without a word: the claim's verdict is judged at the
    # end, when all of them have run.
    if not measured.said and test.of > 1:
        return ""
    return difference(
        claim, measured.verdict, measured.seen, mode=test.mode, kubernetes_version=version
    )


def _stops(item: pytest.Item, call: pytest.CallInfo[None]) -> bool:
    # A harness test that meets such an error in its own body is to be shown like any other failure,
    # and with --full-trace all of them are.
    return (call.when != "call" or CLAIM_TEST in item.stash) and not item.config.option.fulltrace


def _verdict_after(error: BaseException, report: pytest.TestReport) -> Verdict:
    stopped = isinstance(error, InfrastructureError | UsageError)
    skipped = isinstance(error, pytest.skip.Exception) and report.skipped
    return Verdict.SKIPPED if stopped or skipped else Verdict.NOT_PROVED


def _message(error: BaseException) -> str:
    if isinstance(error, ServicelabError):
        return f"not run: {error}"
    notes = getattr(error, "__notes__", ())
    if isinstance(error, AssertionError | pytest.skip.Exception | pytest.fail.Exception):
        return "\n".join([str(error) or "the test failed without a word", *notes])
    return "\n".join([f"{type(error).__name__}: {error}", *notes])


def _add(item: pytest.Item, report: pytest.TestReport, name: str, value: str) -> None:
    item.user_properties.append((name, value))
    report.user_properties.append((name, value))
