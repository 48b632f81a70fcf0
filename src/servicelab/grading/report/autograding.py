"""A grade as GitHub Classroom's autograding reads it: what one of its graders gives as `result`.

The form is that of classroom-resources/autograding-io-grader; autograding-grading-reporter, which
tells Classroom of the points, takes it in Base64.
"""

from __future__ import annotations

import json
from typing import Any

from servicelab.grading.results import CriterionResult, Grade, Outcome, State
from servicelab.report.safe_text import one_line

VERSION = 1
"""Of Classroom's form."""
_LONGEST = 1000


def render(grade: Grade) -> str:
    """All of a grade."""
    return json.dumps(to_json(grade), indent=1) + "\n"


def to_json(grade: Grade) -> dict[str, Any]:
    """All of a grade; one that could not be given has no `max_score`, so no points are told."""
    if grade.outcome is Outcome.GRADED:
        tests = [_criterion(each) for each in grade.criteria]
        status = "pass" if grade.is_full else "fail"
    else:
        status = "fail" if grade.outcome is Outcome.REFUSED else "error"
        # Of a test that fails, Classroom's reporter prints the name, not the message.
        name = f"{grade.outcome}: {grade.reason}"
        tests = [_test(name, status, grade.reason, 0, grade.seconds)]
    said: dict[str, Any] = {"version": VERSION, "status": status, "tests": tests}
    return said if grade.score is None else {**said, "max_score": grade.possible}


def _criterion(each: CriterionResult) -> dict[str, Any]:
    status = "pass" if each.state is State.PASSED else "fail"
    return _test(f"{each.id}: {each.says}", status, each.why, each.earned, each.seconds)


def _test(name: str, status: str, message: str, score: int, seconds: float) -> dict[str, Any]:
    return {
        "name": one_line(name, _LONGEST),
        "status": status,
        "message": one_line(message, _LONGEST) or None,
        # Lines of a test's code, which there are none of.
        "test_code": "",
        "filename": "",
        "line_no": 0,
        "execution_time": f"{seconds:.3f}s",
        "score": score,
    }
