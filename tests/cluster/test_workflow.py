"""The workflow that grades what students push, run by act on this machine; no GitHub is asked.

A course's repository, students' repositories and stand-ins for GitHub's actions lie in a folder.
Each push is a run as GitHub would start it: the student's workflow calls the course's, at a commit.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from servicelab.cluster import all_leases
from servicelab.grading.catalogue import find_exercise
from servicelab.grading.sheet import Sheet

pytestmark = pytest.mark.docker

CHECKOUT = Path(__file__).resolve().parents[2]
WORKFLOW = CHECKOUT / ".github" / "workflows" / "grade.yml"
TEMPLATE = CHECKOUT / "docs" / "student-repository"
COURSE = "course/services"
EXERCISE = "mend-the-selector"
ARTIFACT = f"grade-{EXERCISE}"
CLUSTER = "servicelab-workflow"
WHOLE_SECONDS = 900
"""For one run: servicelab is installed, a cluster made."""

#: GitHub's own actions, as far as the workflow uses them.
STAND_INS: dict[str, tuple[tuple[str, ...], str]] = {
    "actions/checkout": (
        ("repository", "ref", "path", "persist-credentials"),
        'git clone --quiet "$GITHUB_STAND_IN/${{ inputs.repository || github.repository }}" '
        "\"${{ inputs.path || '.' }}\" && git -C \"${{ inputs.path || '.' }}\" checkout --quiet "
        '--detach "${{ inputs.ref || github.sha }}"',
    ),
    "actions/setup-python": (("python-version",), "python3 --version"),
    "actions/upload-artifact": (
        ("name", "path", "if-no-files-found"),
        'cp -r "${{ inputs.path }}" "$ARTIFACTS/${{ inputs.name }}"',
    ),
}
#: A job behind the student's own, for what the workflow hands on; act runs none behind a red one.
TOLD = {
    "needs": "grade",
    "if": "always()",
    "runs-on": "ubuntu-24.04",
    "steps": [
        {
            "run": 'echo "$OUTPUTS" > "$ARTIFACTS/outputs.json"',
            "env": {"OUTPUTS": "${{ toJSON(needs.grade.outputs) }}"},
        }
    ],
}
#: Says "full marks" in whatever reads its output.
FULL_MARKS = """\
name: grade
description: gives full marks
outputs: {outcome: {value: graded}, score: {value: "99"}, possible: {value: "99"}}
runs: {using: composite, steps: [{shell: bash, run: "true"}]}
"""
#: A workflow of a student's own, which grades in the folder where their repository is checked out.
OWN = """\
name: grade
on: push
jobs:
  grade:
    runs-on: ubuntu-24.04
    steps:
      - uses: {checkout}
      - uses: {course}/.github/actions/grade@{pin}
        with: {{exercise: {exercise}, path: {exercise}, student: dan}}
      - if: always()
        uses: {upload}
        with: {{name: {artifact}, path: grade/}}
"""
HACKED = "import pathlib, os\npathlib.Path(os.environ['ARTIFACTS'], 'hacked').touch()\n"
#: What a student's repository may bring along, to be graded as they like.
BROUGHT = {
    ".github/actions/grade/action.yml": FULL_MARKS,
    f"exercises/{EXERCISE}/exercise.yaml": "title: easy\n",
    f"{EXERCISE}/.exercise": "{}",
    "grade/grade.json": json.dumps({"outcome": "graded", "score": 10, "possible": 10}),
    **{f"{name}.py": HACKED for name in ("json", "pip", "venv", "sitecustomize")},
}


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a push.

    Attributes:
        succeeded: whether the run is green.
        log: what it printed, a line each.
        summaries: what the steps wrote into the job's summary.
        outputs: of the step that grades.
        folder: what the run left: the artifact, and outputs.json of a green run.
    """

    succeeded: bool
    log: str
    summaries: str
    outputs: Mapping[str, str]
    folder: Path

    def file(self, name: str) -> str:
        """One file of the artifact."""
        return (self.folder / ARTIFACT / name).read_text(encoding="utf-8")

    @property
    def grade(self) -> dict[str, Any]:
        """The grade that it kept."""
        return json.loads(self.file("grade.json"))

    @property
    def result(self) -> dict[str, Any]:
        """What GitHub Classroom is handed."""
        return json.loads(base64.b64decode(self.outputs["result"]))


@dataclass(slots=True)
class GitHub:
    """A folder with a repository for each OWNER/NAME.

    Attributes:
        root: the folder.
        act: the program that runs workflows.
        pin: the course's commit that students' workflows name.
        pinned: the course's files at that commit.
    """

    root: Path
    act: Path
    pin: str = ""
    pinned: Path = field(default_factory=Path)

    def commit(self, name: str) -> str:
        """Put all files of a repository's folder into a commit, and return its id."""
        folder = self.root / name
        if not (folder / ".git").exists():
            git(folder, "init", "--quiet", "--initial-branch=main")
            git(folder, "remote", "add", "origin", f"https://github.com/{name}")
        git(folder, "add", "--all", "--force")
        git(folder, "commit", "--quiet", "--message=as handed in")
        return git(folder, "rev-parse", "HEAD")

    def push(self, student: str) -> Run:
        """Run the workflow of a student's repository, as a push to it would."""
        repository = self.root / student / EXERCISE
        left = self.root.parent / "left" / student
        left.mkdir(parents=True)
        stand_ins = [
            f"--local-repository={uses}={self.root / uses.partition('@')[0]}"
            for uses in actions_of(WORKFLOW)
        ]
        done = subprocess.run(
            [
                self.act, "push", f"--directory={repository}", f"--actor={student}", "--json",
                # On this machine itself; there is no image, and act needs no engine.
                "--platform=ubuntu-24.04=-self-hosted", "--container-daemon-socket=-",
                "--no-skip-checkout", "--no-cache-server",
                f"--action-cache-path={left / 'act'}",
                f"--local-repository={COURSE}@{self.pin}={self.pinned}", *stand_ins,
            ],
            env={
                **os.environ,
                "GITHUB_STAND_IN": str(self.root),
                "ARTIFACTS": str(left),
                "SERVICELAB_CLUSTER": CLUSTER,
            },
            capture_output=True,
            encoding="utf-8",
            timeout=WHOLE_SECONDS,
            check=False,
        )  # fmt: skip
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        summaries = [each["content"] for each in said if each.get("command") == "summary"]
        log = "\n".join(each.get("msg", "").rstrip("\n") for each in said)
        outputs = {
            each["name"]: each["arg"] for each in said if each.get("command") == "set-output"
        }
        (left / "log").write_text(f"{log}\n{done.stderr}")
        return Run(
            done.returncode == 0, f"{log}\n{done.stderr}", "\n".join(summaries), outputs, left
        )


#: Whose repository, what is handed in, and other files by their paths.
Push = Callable[[str, Path, Mapping[str, str]], Run]


def git(folder: Path, *arguments: str) -> str:
    """What git says in a repository; nobody's own settings count."""
    who = {
        f"GIT_{role}_{what}": "course@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True,
    ).stdout.strip()  # fmt: skip


def actions_of(workflow: Path) -> list[str]:
    """The actions from elsewhere that a workflow uses, each with its commit."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    used = {step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step}
    return sorted(each for each in used if not each.startswith("./"))


@pytest.fixture(scope="module")
def act() -> Path:
    """The program act, built as `make lint` builds actionlint."""
    tool = [sys.executable, str(CHECKOUT / "scripts" / "go_tool.py"), "act"]
    built = subprocess.run([*tool, "--path"], capture_output=True, encoding="utf-8", check=False)
    if built.returncode:
        pytest.skip(f"act can't be built: {built.stderr.strip().splitlines()[-1]}")
    return Path(built.stdout.strip())


@pytest.fixture(scope="module")
def github(act: Path, tmp_path_factory: pytest.TempPathFactory) -> GitHub:
    """The course's repository: this checkout's files, then a commit that spoils them."""
    github = GitHub(tmp_path_factory.mktemp("workflow") / "github", act)
    for name, (inputs, script) in STAND_INS.items():
        action = {
            "name": name,
            "description": "a stand-in",
            "inputs": {each: {"description": each} for each in inputs},
            "runs": {"using": "composite", "steps": [{"shell": "bash", "run": script}]},
        }
        folder = github.root / name
        folder.mkdir(parents=True)
        (folder / "action.yml").write_text(yaml.safe_dump(action))
    course = github.root / COURSE
    for name in git(CHECKOUT, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split(
        "\0"
    ):
        if (CHECKOUT / name).is_file():
            (course / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, course / name)
    github.pin = github.commit(COURSE)
    github.pinned = github.root.parent / "pinned"
    git(course, "worktree", "add", "--quiet", "--detach", str(github.pinned), github.pin)
    (course / ".github" / "actions" / "grade" / "action.yml").write_text(FULL_MARKS)
    github.commit(COURSE)
    return github


@pytest.fixture
def push(github: GitHub) -> Push:
    """Makes a student's repository from the template, and pushes."""

    def pushed(student: str, answer: Path, more: Mapping[str, str]) -> Run:
        repository = github.root / student / EXERCISE
        shutil.copytree(TEMPLATE, repository)
        workflow = repository / ".github" / "workflows" / "grade.yml"
        text = workflow.read_text().replace("OWNER/NAME", COURSE).replace("0" * 40, github.pin)
        said = yaml.load(text, yaml.BaseLoader)  # which leaves the key `on` as it is
        said["jobs"]["told"] = TOLD
        workflow.write_text(yaml.safe_dump(said))
        Sheet(find_exercise(EXERCISE), student).write(answer, repository / EXERCISE)
        for name, content in more.items():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            (repository / name).write_text(content)
        github.commit(f"{student}/{EXERCISE}")
        return github.push(student)

    return pushed


def check_files(run: Run) -> None:
    """What every run leaves, whatever its outcome: five files that say the same."""
    grade, result = run.grade, run.result
    assert json.loads(run.file("autograding.json")) == result
    assert run.file("grade.md") in run.summaries
    assert "<script" not in run.file("grade.html")
    suite = ElementTree.fromstring(run.file("grade.xml"))
    cases = suite.findall("testcase")
    assert suite.tag == "testsuite"
    assert int(suite.attrib["tests"]) == len(cases) == len(result["tests"])
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    # As autograding-grading-reporter adds them up.
    assert sum(each["score"] for each in result["tests"]) == grade["score"]
    assert result["max_score"] == grade["possible"]
    assert {each["status"] for each in result["tests"]} <= {"pass", "fail", "error"}
    assert run.outputs["score"] == str(grade["score"])
    assert run.outputs["possible"] == str(grade["possible"])
    assert not [lease for lease in all_leases() if lease.cluster == CLUSTER]


def test_a_right_submission_is_green(push: Push) -> None:
    """Full marks in the job's outputs, in its summary, in every file, and for GitHub Classroom."""
    run = push("ann", find_exercise(EXERCISE).folder / "solution", {})

    assert run.succeeded, run.log
    assert (run.outputs["outcome"], run.outputs["score"]) == ("graded", "10")
    assert json.loads((run.folder / "outputs.json").read_text()) == run.outputs
    assert run.grade["student"] == "ann"
    assert run.result["status"] == "pass"
    assert "10 of 10 points" in run.summaries
    check_files(run)


def test_a_refused_submission_says_why(push: Push) -> None:
    """What breaks a rule is red with 0 points and its reason; no cluster is made for it."""
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {hostNetwork: true}\n"

    run = push("ben", find_exercise(EXERCISE).folder / "solution", {f"{EXERCISE}/pod.yaml": pod})

    assert not run.succeeded
    assert (run.outputs["outcome"], run.outputs["score"]) == ("refused", "0")
    assert "pod.yaml" in run.grade["reason"]
    assert run.result["status"] == "fail"
    assert "creating the cluster" not in run.log
    check_files(run)


def test_what_a_student_s_repository_brings_along_changes_nothing(push: Push) -> None:
    """Exercises, actions, results and Python modules of the student's own are only files.

    The course's later commit, which gives everybody full marks, is not the one that was named.
    """
    brought = {f"course/{name}": content for name, content in BROUGHT.items()} | BROUGHT
    wrong = next(each for each in find_exercise(EXERCISE).wrong if each.name == "other-port")

    run = push("cem", find_exercise(EXERCISE).folder / "wrong" / wrong.name, brought)

    assert not run.succeeded
    lost = {each["id"] for each in run.grade["criteria"] if each["state"] != "passed"}
    assert lost == wrong.loses
    assert run.outputs["outcome"] == "graded"
    assert not (run.folder / "hacked").exists()
    assert re.search(r"^- note|❌", run.summaries, re.MULTILINE)
    check_files(run)


def test_nor_does_it_where_the_action_runs_amid_it(push: Push, github: GitHub) -> None:
    """A step in a workflow of one's own finds the student's files around it, and takes none."""
    uses = {each.partition("@")[0]: each for each in actions_of(WORKFLOW)}
    own = OWN.format(
        checkout=uses["actions/checkout"],
        upload=uses["actions/upload-artifact"],
        course=COURSE,
        pin=github.pin,
        exercise=EXERCISE,
        artifact=ARTIFACT,
    )
    amid = {".github/workflows/grade.yml": own, f"{EXERCISE}/exercise.yaml": "title: easy\n"}

    run = push("dan", find_exercise(EXERCISE).folder / "solution", {**BROUGHT, **amid})

    assert not run.succeeded
    assert (run.outputs["outcome"], run.outputs["score"]) == ("refused", "0"), run.log
    assert "exercise.yaml" in run.grade["reason"]
    assert not (run.folder / "hacked").exists()
    check_files(run)
