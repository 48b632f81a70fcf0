"""Reading an exercise: what it says is checked, each mistake gets a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from servicelab.errors import UsageError
from servicelab.grading.catalogue import exercise_names, exercises_root, find_exercise
from servicelab.grading.exercise import load
from servicelab.grading.sheet import Sheet

MODEL: dict[str, Any] = {
    "title": "A title",
    "difficulty": "easy",
    "claims": ["CIP-03"],
    "parameters": {"app": "word", "port": "8000..8999"},
    "criteria": [
        {
            "id": "finds",
            "says": "{{ app }} finds them",
            "points": 4,
            "check": {"endpoints": {"service": "{{ app }}", "of": "deployment/{{ app }}"}},
            "hints": ["What is missing?"],
        },
        {
            "id": "answers",
            "says": "port {{ port }} answers",
            "points": 6,
            "needs": ["finds"],
            "check": {
                "answers": {
                    "service": "{{ app }}",
                    "port": "{{ port + 1 }}",
                    "of": "deployment/{{ app }}",
                }
            },
        },
    ],
    "wrong": {"silent": {"score": 4, "loses": ["answers"]}},
}
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes an exercise with something changed."""

    def written(change: Change = lambda said: None) -> Path:
        said = yaml.safe_load(yaml.safe_dump(MODEL))
        change(said)
        (tmp_path / "exercise.yaml").write_text(yaml.safe_dump(said))
        (tmp_path / "task.md").write_text("# {{ app }} at {{ port }}\n")
        return tmp_path

    return written


def test_reads_what_is_written(write: Callable[..., Path]) -> None:
    """Points, needs and wrong answers are as the file says."""
    exercise = load(write())

    assert exercise.possible == 10
    assert exercise.criteria[1].needs == ("finds",)
    assert exercise.wrong[0].score == 4


def criterion(number: int, **changes: object) -> Change:
    """Change a criterion."""
    return lambda said: said["criteria"][number].update(changes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda said: said.pop("title"), "title is None, no text"),
        (lambda said: said.update(difficulty="brutal"), "difficulty is 'brutal', none of easy"),
        (lambda said: said.update(titel="x"), "the exercise has a key 'titel'; known are"),
        (lambda said: said.update(criteria=[]), "its criteria give no points"),
        (lambda said: said.update(criteria={}), "its criteria give no points"),
        (criterion(0, points=-1), "the points of finds are -1, no whole number"),
        (criterion(0, points=2.5), "the points of finds are 2.5, no whole number"),
        (criterion(0, points=True), "the points of finds are True, no whole number"),
        (criterion(0, id="Finds"), "'Finds' is not written in small letters"),
        (criterion(1, id="finds"), "there are two criteria named finds"),
        (criterion(0, needs=["answers"]), "finds needs answers, which is no criterion before it"),
        (criterion(0, check={}), "finds has no check of the form"),
        (criterion(0, check={"magic": {}}), "there is no word 'magic'; there are answers,"),
        (criterion(0, check={"endpoints": {"service": "x"}}), "missing a required argument: 'of'"),
        (criterion(0, check={"endpoints": {"x": 1}}), "can't be used: endpoints:"),
        (lambda said: said["wrong"]["silent"].update(score=5), "what it loses leaves 4"),
        (lambda said: said["wrong"]["silent"].pop("score"), "said to score None, but"),
        (lambda said: said["wrong"]["silent"].update(loses=["x"]), "loses x, which is no crit"),
    ],
)
def test_a_mistake_gets_a_sentence(
    write: Callable[..., Path], change: Change, sentence: str
) -> None:
    """It names the file, and what is wrong there."""
    with pytest.raises(UsageError, match=r"exercise\.yaml, ") as said:
        load(write(change))

    assert sentence in str(said.value)


@pytest.mark.parametrize("text", ["[1", "- a", "", "\x00"])
def test_what_is_no_mapping_gets_a_sentence(tmp_path: Path, text: str) -> None:
    """Broken YAML, a list, nothing."""
    (tmp_path / "exercise.yaml").write_text(text)

    with pytest.raises(UsageError, match=r"exercise\.yaml"):
        load(tmp_path)


def test_a_sheet_writes_names_and_numbers_everywhere(write: Callable[..., Path]) -> None:
    """Task, sentences and arguments have the student's; a number that is computed is a number."""
    sheet = Sheet(load(write()), "ann")
    app, port = sheet.values["app"], sheet.values["port"]

    assert sheet.task == f"# {app} at {port}\n"
    assert sheet.criteria[0].says == f"{app} finds them"
    assert sheet.criteria[1].arguments["port"] == int(port) + 1
    assert sheet.criteria[0].arguments["of"] == f"deployment/{app}"


def test_a_template_with_an_unknown_name_gets_a_sentence(write: Callable[..., Path]) -> None:
    """Nothing is handed out with a hole in it."""
    folder = write()
    (folder / "task.md").write_text("{{ ap }}")

    with pytest.raises(UsageError, match=r"task\.md of the exercise .*'ap' is undefined"):
        Sheet(load(folder)).task  # noqa: B018


def test_an_unknown_exercise_gets_a_sentence() -> None:
    """It names those that there are."""
    with pytest.raises(UsageError, match=r"no exercise 'nope'; choose from .*mend-the-selector"):
        find_exercise("nope")


def test_there_are_exercises_enough() -> None:
    """At least 14, each found by its name and by its folder."""
    names = exercise_names()

    assert len(names) >= 14
    assert find_exercise(names[0]).name == names[0]
    assert find_exercise(str(exercises_root() / names[0])).name == names[0]


def test_a_student_s_folder_is_no_exercise_of_the_course(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder here by an exercise's name, whatever it holds, is taken only as ./NAME."""
    name = exercise_names()[0]
    own = tmp_path / name
    shutil.copytree(exercises_root() / exercise_names()[1], own)
    monkeypatch.chdir(tmp_path)

    assert find_exercise(name).folder == exercises_root() / name
    assert find_exercise(f"./{name}").folder.samefile(own)
