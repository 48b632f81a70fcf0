"""A grade as JUnit XML: one test case for each criterion."""

from __future__ import annotations

from xml.etree import ElementTree

from servicelab.grading.results import Grade, Outcome, State
from servicelab.report.safe_text import printable


def render(grade: Grade) -> str:
    """All of a grade."""
    suite = ElementTree.Element(
        "testsuite",
        name=f"servicelab.{grade.exercise}",
        tests=str(max(1, len(grade.criteria))),
        failures=str(sum(each.state is State.FAILED for each in grade.criteria)),
        skipped=str(sum(each.state is State.HELD_BACK for each in grade.criteria)),
        errors=str(int(grade.outcome is Outcome.NOT_GRADED)),
        time=f"{grade.seconds:.3f}",
    )
    if grade.outcome is not Outcome.GRADED:
        case = _case(suite, grade, str(grade.outcome), grade.seconds)
        kind = "error" if grade.outcome is Outcome.NOT_GRADED else "failure"
        element = ElementTree.SubElement(case, kind, message=str(grade.outcome))
        element.text = printable(grade.reason)
        if grade.outcome is Outcome.REFUSED:
            suite.set("failures", "1")
    for each in grade.criteria:
        case = _case(suite, grade, each.id, each.seconds)
        if each.state is State.PASSED:
            continue
        kind = "failure" if each.state is State.FAILED else "skipped"
        element = ElementTree.SubElement(case, kind, message=printable(each.why))
        told = (each.says, each.expected, each.actual, each.waited_for)
        element.text = printable("\n".join(filter(None, told)))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(
    suite: ElementTree.Element, grade: Grade, name: str, seconds: float
) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite,
        "testcase",
        classname=f"servicelab.{grade.exercise}",
        name=printable(name),
        time=f"{seconds:.3f}",
    )
