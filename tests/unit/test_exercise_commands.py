"""`servicelab exercise` and `servicelab grade`, as far as they need no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from servicelab.cli import app
from servicelab.errors import UsageError
from servicelab.grading import running

NAME = "mend-the-selector"
run = CliRunner().invoke


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A student's folder; and no cluster may be touched."""
    monkeypatch.chdir(tmp_path)

    def none(*about: object, **more: object) -> object:
        raise running.ServicelabError("there is no cluster in this test")

    monkeypatch.setattr(running, "grading_cluster", none)
    return tmp_path


def test_the_list_has_every_exercise() -> None:
    """A line each, the easy ones first; JSON for machines."""
    lines = run(app, ["exercise", "list"]).stdout.splitlines()
    rows = json.loads(run(app, ["exercise", "list", "--json"]).stdout)

    assert len(lines) == len(rows) >= 14
    assert [row["name"] for row in rows] == [line.split()[0] for line in lines]
    assert rows[0]["difficulty"] == "easy"
    assert all(row["points"] == 10 for row in rows)


def test_start_writes_what_a_student_begins_with() -> None:
    """task.md and the starter, with the student's names; a second time nothing is written over."""
    begun = run(app, ["exercise", "start", NAME, "--student", "ann"])
    (Path(NAME) / "service.yaml").write_text("mine")
    again = run(app, ["exercise", "start", NAME, "--student", "ann"])

    assert begun.exit_code == 0
    assert "{{" not in (Path(NAME) / "task.md").read_text()
    assert isinstance(again.exception, UsageError)
    assert (Path(NAME) / "service.yaml").read_text() == "mine"


def test_show_says_what_gives_points() -> None:
    """The task, and each criterion."""
    said = run(app, ["exercise", "show", NAME, "--student", "ann"]).stdout

    assert "easy, 10 points" in said
    assert "{{" not in said


def test_hints_come_one_by_one() -> None:
    """The first one asks; an unknown criterion gets a sentence."""
    asked = [run(app, ["exercise", "hint", NAME, "finds-them"]).stdout for _ in range(2)]
    wrong = run(app, ["exercise", "hint", NAME, "find-them"])

    assert asked[0].endswith("? (1 of 3)\n")
    assert asked[1].endswith("(2 of 3)\n")
    assert "choose from finds-them" in str(wrong.exception)


def test_a_refused_submission_never_meets_a_cluster(tmp_path: Path) -> None:
    """Exit code 4, and the reason in every file that was asked for."""
    (tmp_path / "bad.yaml").write_text("kind: [")

    ended = run(app, ["grade", NAME, "bad.yaml", "--json", "g.json", "--markdown", "g.md"])

    assert ended.exit_code == 4
    assert "refused, 0 of 10 points" in ended.stdout
    assert json.loads(Path("g.json").read_text())["outcome"] == "refused"
    assert "refused" in Path("g.md").read_text()


def test_without_a_cluster_nothing_is_lost(tmp_path: Path) -> None:
    """Exit code 3, an outcome of its own, no score; the attempt says so."""
    run(app, ["exercise", "start", NAME])

    ended = run(app, ["exercise", "check", NAME, NAME])

    assert ended.exit_code == 3
    assert "could not grade; this costs no points" in ended.stdout
    assert "there is no cluster in this test" in ended.stdout
    (kept,) = Path(".servicelab/attempts").rglob("0001.json")
    assert json.loads(kept.read_text())["score"] is None


def test_a_path_that_is_not_there_is_a_usage_error() -> None:
    """Nothing is graded."""
    assert isinstance(run(app, ["grade", NAME, "nowhere.yaml"]).exception, UsageError)


def test_verify_offline_needs_no_cluster() -> None:
    """The lint of every exercise; and one of the two ways to choose must be used."""
    assert run(app, ["exercise", "verify", NAME, "--offline"]).exit_code == 0
    assert isinstance(run(app, ["exercise", "verify"]).exception, UsageError)
    assert isinstance(run(app, ["exercise", "verify", NAME, "--all"]).exception, UsageError)


def test_a_new_exercise_can_be_verified_at_once() -> None:
    """`new`, then `verify` of its folder."""
    run(app, ["exercise", "new", "mine"])

    assert run(app, ["exercise", "verify", "exercises/mine", "--offline"]).exit_code == 0


def test_students_need_no_seed_to_check_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The course's seed writes the folder; the note in it says the numbers, hints have them too."""
    run(app, ["exercise", "start", NAME, "--student", "ann", "--seed", "s3cret"])
    values = json.loads((Path(NAME) / ".exercise").read_text())["values"]
    asked = []

    def grade(exercise: object, path: Path, **told: object) -> object:
        asked.append(told)
        raise UsageError("enough")

    monkeypatch.setattr(running, "grade_once", grade)
    run(app, ["exercise", "check", NAME, NAME])
    run(app, ["exercise", "check", NAME, f"{NAME}/service.yaml"])
    run(app, ["exercise", "hint", NAME, "finds-them"])
    hint = run(app, ["exercise", "hint", NAME, "finds-them"]).stdout

    assert [(told["student"], told["values"]) for told in asked] == [("ann", values)] * 2
    assert values["app"] in hint
    assert "s3cret" not in (Path(NAME) / ".exercise").read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"exercise": "another"},
        {"values": {"app": "birch"}},
        {"values": {"app": "{{ 7 }}", "other": "birch", "port": 8000, "replicas": 2}},
        {"values": {"app": "maple", "other": "birch", "port": 80, "replicas": 2}},
        {"values": 7},
    ],
)
def test_a_note_that_was_changed_is_not_believed(change: dict[str, object]) -> None:
    """What could never have been drawn is refused, and so is another exercise's note."""
    run(app, ["exercise", "start", NAME])
    note = Path(NAME) / ".exercise"
    note.write_text(json.dumps(json.loads(note.read_text()) | change))

    assert isinstance(run(app, ["exercise", "check", NAME, NAME]).exception, UsageError)
