"""Every exercise is sound as far as that can be seen without a cluster, and the lint can tell."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from servicelab.errors import UsageError
from servicelab.grading.catalogue import exercise_names, exercises_root
from servicelab.grading.exercise import load
from servicelab.grading.hints import leaks
from servicelab.grading.lint import known_claims, problems
from servicelab.grading.sheet import Sheet
from servicelab.grading.skeleton import new_exercise

MODEL = "mend-the-selector"


@pytest.mark.parametrize("name", exercise_names())
def test_an_exercise_is_sound(name: str) -> None:
    """Claims, answers, hints and templates are in order."""
    assert problems(load(exercises_root() / name)) == []


@pytest.mark.parametrize("name", exercise_names())
def test_hints_of_an_exercise_never_say_the_answer(name: str) -> None:
    """For many students: no hint contains what a solution has and the starter has not."""
    exercise = load(exercises_root() / name)

    assert [each for n in range(5) for each in leaks(Sheet(exercise, f"s{n}"))] == []


def test_the_claims_are_those_of_the_labs() -> None:
    """An exercise can only be drawn from a claim that is proved."""
    assert {"CIP-03", "NP-04", "LB-03", "EN-09"} <= known_claims()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """An exercise to spoil."""
    return Path(shutil.copytree(exercises_root() / MODEL, tmp_path / MODEL))


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    """Spoil a file."""

    def spoil(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return spoil


LOSES_SOME = "score: 4, loses: [finds-them, follows]"
LOSES_ALL = "score: 0, loses: [finds-them, answers, follows]"
QUESTION = "What does a Service compare, to know which Pods are its own?"


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (replace("exercise.yaml", "CIP-03", "CIP-93"), "there is no claim CIP-93"),
        (replace("exercise.yaml", "[CIP-03, CIP-06, CIP-12]", "[]"), "drawn from no claim"),
        (
            replace(
                "exercise.yaml", "difficulty: easy", "difficulty: easy\nprerequisites: [none-such]"
            ),
            "there is no exercise none-such",
        ),
        (
            replace("exercise.yaml", QUESTION, "'Is it app: {{ app }}?'"),
            "hint 1 of finds-them contains 'app:",
        ),
        (replace("exercise.yaml", QUESTION, "Think."), "the first hint of finds-them does not ask"),
        (replace("task.md", "{{ port }}", "8080"), ""),
        (replace("task.md", "{{ app }}", "{{ ap }}"), "'ap' is undefined"),
        (lambda folder: shutil.rmtree(folder / "starter"), "there is no starter/"),
        (lambda folder: shutil.rmtree(folder / "other-solutions"), "another one in other-sol"),
        (lambda folder: shutil.rmtree(folder / "wrong" / "everybody"), "there is no wrong/every"),
        (lambda folder: (folder / "wrong" / "new").mkdir(), "does not say what wrong/new scores"),
        (
            lambda folder: shutil.copyfile(
                folder / "solution" / "service.yaml", folder / "starter" / "service.yaml"
            ),
            "solution says the same as starter",
        ),
        (
            replace("exercise.yaml", "policy:", "policy:\n  kind: [v1 Pod]"),
            "has no field 'kind'",
        ),
        (replace("exercise.yaml", "v1 Service", "v1 Node"), "policy can't allow v1 Node"),
        (
            lambda folder: [
                replace("exercise.yaml", LOSES_ALL, LOSES_SOME)(folder),
                replace("exercise.yaml", "score: 6, loses: [answers]", "score: 10, loses: []")(
                    folder
                ),
            ],
            "no wrong answer loses answers",
        ),
    ],
)
def test_the_lint_sees_what_is_spoilt(
    copy: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    """Each kind of problem is found, with a sentence."""
    spoil(copy)

    found = problems(load(copy))

    assert [each for each in found if problem in each] or not problem


def test_a_value_that_the_task_tells_is_no_secret(copy: Path) -> None:
    """A hint may speak of the port that the task names, but not of the field that it goes into."""
    telling = replace("exercise.yaml", QUESTION, "Is it {{ port }} that clients ask for?")
    telling(copy)
    assert leaks(Sheet(load(copy))) == []

    file = copy / "solution" / "service.yaml"
    file.write_text(file.read_text().replace("targetPort: 80", "targetPort: 4711"))
    replace("exercise.yaml", "Is it {{ port }}", "Is it 4711")(copy)
    assert any("4711" in each for each in leaks(Sheet(load(copy))))


def test_a_new_exercise_is_sound(tmp_path: Path) -> None:
    """`exercise new` writes one that passes the lint as it stands."""
    folder = new_exercise("my-own", tmp_path)

    assert load(folder).title == "my-own"
    assert problems(load(folder)) == []


@pytest.mark.parametrize("name", ["My-Own", "a/b", "../x", "a_b", "", "a.b"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    """It would have to be a folder's name, and part of a namespace's."""
    with pytest.raises(UsageError, match="can't be an exercise's name"):
        new_exercise(name, tmp_path)


def test_an_exercise_is_never_written_over(tmp_path: Path) -> None:
    """A second `new` of one name is refused."""
    new_exercise("mine", tmp_path)

    with pytest.raises(UsageError, match="exists already"):
        new_exercise("mine", tmp_path)


def test_the_list_for_readers_has_every_exercise() -> None:
    """exercises/README.md names each once, with its difficulty."""
    text = (exercises_root() / "README.md").read_text()

    for name in exercise_names():
        difficulty = load(exercises_root() / name).difficulty
        assert text.count(f"| [{name}]({name}/exercise.yaml) | {difficulty} |") == 1
