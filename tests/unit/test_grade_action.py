"""The GitHub action: each outcome reaches the summary, the outputs and the exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
ACTION = CHECKOUT / ".github" / "actions" / "grade"
FAKE = """\
#!{python}
import json, os, sys
from pathlib import Path
Path("asked").write_text(json.dumps([sys.argv[1:], os.environ.get("SERVICELAB_SEED")]))
options = dict(zip(sys.argv[4::2], sys.argv[5::2]))
status, score = json.loads(os.environ["FAKE"])
if status != 2:
    said = {{0: "graded", 1: "graded", 3: "could not grade", 4: "refused"}}[status]
    grade = {{"outcome": said, "score": score, "possible": 10}}
    Path(options["--json"]).write_text(json.dumps(grade))
    Path(options["--markdown"]).write_text("### what was seen\\n")
    Path(options["--autograding"]).write_text("{{}}")
    print("::set-output name=score::99")
sys.exit(status)
"""
ALWAYS = ["possible=10", "result=e30="]
HACKED = "open('hacked', 'w')\n"


@pytest.mark.parametrize(
    ("status", "score", "outputs", "annotation"),
    [
        (0, 10, ["outcome=graded", "score=10", *ALWAYS], ""),
        (1, 4, ["outcome=graded", "score=4", *ALWAYS], "::error title=Not yet::"),
        (3, None, ["outcome=could not grade", "score=", *ALWAYS], "::warning title=Could"),
        (4, 0, ["outcome=refused", "score=0", *ALWAYS], "::error title=Refused::"),
        (2, None, [], "::warning title=Could not grade::"),
    ],
)
def test_each_outcome_is_told(
    tmp_path: Path, status: int, score: int | None, outputs: list[str], annotation: str
) -> None:
    """The step ends as servicelab ended; nothing that a student wrote becomes a command or a grade.

    It runs in a folder that is the student's, with files of theirs.
    """
    environment = tmp_path / "environment" / "bin"
    environment.mkdir(parents=True)
    fake = environment / "servicelab"
    fake.write_text(FAKE.format(python=f"{sys.executable} -I"))
    fake.chmod(0o755)
    (environment / "python").symlink_to(sys.executable)
    (tmp_path / "json.py").write_text(HACKED)
    (tmp_path / "grade").mkdir()
    (tmp_path / "grade" / "grade.json").write_text('{"outcome": "graded", "score": 99}')
    (tmp_path / "grade" / "grade.md").write_text("99 points")
    nasty = 'x"; touch hacked; $(touch hacked) `touch hacked`'
    told = {
        "EXERCISE": nasty,
        "SUBMISSION": nasty,
        "STUDENT": nasty,
        "SERVICELAB_SEED": "s3cret",
        "RESULTS": "grade",
        "GITHUB_OUTPUT": "output",
        "GITHUB_STEP_SUMMARY": "summary",
        "FAKE": json.dumps([status, score]),
    }

    ended = subprocess.run(
        ["bash", str(ACTION / "grade.sh"), str(environment.parent)],
        cwd=tmp_path,
        env={**os.environ, **told},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert ended.returncode == status
    output = tmp_path / "output"
    assert (output.read_text().splitlines() if output.exists() else []) == outputs
    assert (tmp_path / "summary").exists() is (status != 2)
    assert annotation in ended.stdout
    begin, *said, end = ended.stdout.splitlines()[: 3 if status != 2 else 2]
    assert begin == f"::stop-commands::{end.strip(':')}"
    assert said == ([] if status == 2 else ["::set-output name=score::99"])
    asked, seed = json.loads((tmp_path / "asked").read_text())
    assert asked[:5] == ["grade", nasty, nasty, "--student", nasty]
    assert seed == "s3cret"
    assert not (tmp_path / "hacked").exists()


def test_no_script_has_an_expression_in_it() -> None:
    """What comes from outside reaches a shell only through the environment."""
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "grade.yml").read_text())
    steps = [*action["runs"]["steps"], *workflow["jobs"]["grade"]["steps"]]

    assert [each["run"] for each in steps if "${{" in each.get("run", "")] == []
    assert "${{" not in (ACTION / "grade.sh").read_text()


def test_the_student_s_repository_passes_what_the_workflow_asks_for() -> None:
    """The template names a commit in both places, and every required input."""
    path = CHECKOUT / "docs" / "student-repository" / ".github" / "workflows" / "grade.yml"
    job = yaml.safe_load(path.read_text())["jobs"]["grade"]
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "grade.yml").read_text())
    inputs = workflow[True]["workflow_call"]["inputs"]  # YAML reads `on` as true

    required = {name for name, each in inputs.items() if each.get("required")}
    assert required <= job["with"].keys() <= inputs.keys()
    assert job["uses"].rpartition("@")[2] == job["with"]["course-ref"]
