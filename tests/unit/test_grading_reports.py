"""A grade on a terminal and in files: the outcomes told apart, and a stranger's text only text."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from servicelab.errors import UsageError
from servicelab.grading.report import autograding, junit, markdown, page, text
from servicelab.grading.results import CriterionResult, Grade, Outcome, State
from servicelab.grading.running import write_reports

NASTY = "<script>x</script> |@ann `a``` [l](http://e.x) \x1b[2J\u202e\uffff <!-- ]]> "
CRITERIA = (
    CriterionResult("finds", "it finds them", 4, State.PASSED, "all", "all"),
    CriterionResult("answers", "it answers", 6, State.FAILED, "all", NASTY, NASTY, NASTY, hints=2),
    CriterionResult("follows", "it follows", 2, State.HELD_BACK, why="answers must be met first"),
)


def grade(outcome: Outcome, reason: str = "") -> Grade:
    """A grade with a stranger's words in it."""
    criteria = CRITERIA if outcome is Outcome.GRADED else ()
    return Grade("ex", "Ex", NASTY, outcome, criteria, 12, reason, seconds=2.0)


GRADES = {
    Outcome.GRADED: grade(Outcome.GRADED),
    Outcome.REFUSED: grade(Outcome.REFUSED, f"no: {NASTY}"),
    Outcome.NOT_GRADED: grade(Outcome.NOT_GRADED, "the cluster is down"),
}


@pytest.mark.parametrize("render", [text.render, markdown.render, page.render, junit.render])
def test_the_three_outcomes_are_told_apart(render) -> None:
    """In words, in each form; what could not be graded says that it costs nothing."""
    said = {outcome: render(each) for outcome, each in GRADES.items()}

    assert "4 of 12 points" in said[Outcome.GRADED] or 'failures="1"' in said[Outcome.GRADED]
    assert "refused" in said[Outcome.REFUSED]
    assert "could not grade" in said[Outcome.NOT_GRADED]
    assert "could not grade" not in said[Outcome.GRADED] + said[Outcome.REFUSED]
    assert "refused" not in said[Outcome.GRADED] + said[Outcome.NOT_GRADED]
    assert "the cluster is down" in said[Outcome.NOT_GRADED]


@pytest.mark.parametrize(
    "render",
    [text.render, markdown.render, page.render, junit.render, autograding.render],
)
@pytest.mark.parametrize("outcome", list(Outcome))
def test_no_control_code_of_a_stranger_s_comes_through(render, outcome: Outcome) -> None:
    """Nothing steers the terminal or turns the direction of writing."""
    said = render(GRADES[outcome])

    assert "\x1b" not in said
    assert "\u202e" not in said


def test_markdown_shows_a_stranger_s_text_as_it_is() -> None:
    """No HTML, no link, no mention, no cell; a fence can't be closed from inside."""
    said = markdown.render(GRADES[Outcome.GRADED])
    outside, fence = [], ""
    for line in said.splitlines():
        if fence:
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = line.removesuffix("text")
        else:
            outside.append(line)
    rest = "\n".join(outside)

    assert not fence
    assert "<script>" not in rest
    assert "<!--" not in rest
    assert "@ann" not in rest
    assert "](http://" not in rest
    rows = [line for line in outside if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {5}


def test_github_classroom_s_reporter_adds_up_the_points() -> None:
    """Each criterion is a test with its points, which give the score of the grade."""
    said = json.loads(autograding.render(GRADES[Outcome.GRADED]))

    assert (said["version"], said["status"], said["max_score"]) == (1, "fail", 12)
    assert [each["status"] for each in said["tests"]] == ["pass", "fail", "fail"]
    assert [each["score"] for each in said["tests"]] == [4, 0, 0]
    assert said["tests"][2]["message"] == "answers must be met first"
    assert {type(each["line_no"]) for each in said["tests"]} == {int}


def test_what_could_not_be_graded_tells_github_classroom_of_no_points() -> None:
    """Its reporter passes over what has no maximum; a refused submission has 0 of it."""
    refused = json.loads(autograding.render(GRADES[Outcome.REFUSED]))
    failed = json.loads(autograding.render(GRADES[Outcome.NOT_GRADED]))

    assert (refused["status"], refused["max_score"]) == ("fail", 12)
    assert [each["score"] for each in refused["tests"]] == [0]
    assert "max_score" not in failed
    assert failed["status"] == failed["tests"][0]["status"] == "error"
    assert failed["tests"][0]["message"] == "the cluster is down"


def test_the_page_is_one_file_without_a_stranger_s_markup() -> None:
    """Everything is escaped, and nothing is loaded from elsewhere."""
    said = page.render(GRADES[Outcome.GRADED])

    assert "<script>" not in said
    assert "&lt;script&gt;" in said
    assert "Content-Security-Policy" in said
    assert "src=" not in said.replace("default-src=", "")


def test_junit_has_a_case_for_each_criterion() -> None:
    """A missed one fails, one that was held back is skipped."""
    suite = ElementTree.fromstring(junit.render(GRADES[Outcome.GRADED]))

    assert [each.get("name") for each in suite] == ["finds", "answers", "follows"]
    assert [[part.tag for part in each] for each in suite] == [[], ["failure"], ["skipped"]]
    assert (suite.get("failures"), suite.get("skipped"), suite.get("errors")) == ("1", "1", "0")


def test_junit_tells_an_error_from_a_failure() -> None:
    """What could not be graded is an error, what was refused a failure."""
    unknown = ElementTree.fromstring(junit.render(GRADES[Outcome.NOT_GRADED]))
    refused = ElementTree.fromstring(junit.render(GRADES[Outcome.REFUSED]))

    assert [part.tag for part in unknown[0]] == ["error"]
    assert [part.tag for part in refused[0]] == ["failure"]
    assert (unknown.get("errors"), refused.get("errors")) == ("1", "0")
    assert (unknown.get("failures"), refused.get("failures")) == ("0", "1")


def test_the_terminal_says_how_to_go_on() -> None:
    """A missed criterion has what was expected and seen, and where hints are."""
    said = text.render(GRADES[Outcome.GRADED])

    assert "expected  all" in said
    assert "servicelab exercise hint ex answers" in said
    assert "not looked at: answers must be met first" in said


def test_files_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    """Each into a folder that need not be there yet; none that was not asked for."""
    write_reports(
        GRADES[Outcome.GRADED], json_file=tmp_path / "a" / "grade.json", markdown=tmp_path / "g.md"
    )

    assert json.loads((tmp_path / "a" / "grade.json").read_text())["score"] == 4
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "g.md"]


def test_a_file_that_can_t_be_written_gets_a_sentence(tmp_path: Path) -> None:
    """It names the file."""
    with pytest.raises(UsageError, match="can't be written"):
        write_reports(GRADES[Outcome.GRADED], junit=tmp_path)
