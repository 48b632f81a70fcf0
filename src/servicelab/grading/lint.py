"""What can be found wrong with an exercise without a cluster."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

from servicelab.content import content_root
from servicelab.errors import UsageError
from servicelab.grading.catalogue import exercise_names
from servicelab.grading.exercise import Exercise
from servicelab.grading.hints import leaks
from servicelab.grading.sheet import Sheet

#: Two of many: what holds for them holds for others, as only names and numbers differ.
_STUDENTS = ("", "ann", "ben")


def problems(exercise: Exercise) -> list[str]:
    """Everything that is wrong, a sentence each."""
    try:
        return list(dict.fromkeys(_problems(exercise)))
    except (UsageError, yaml.YAMLError) as error:
        return [str(error)]


def known_claims() -> set[str]:
    """The ids of all claims of the labs."""
    files = content_root().glob("labs/*/claims.toml")
    return {id_ for file in files for id_ in tomllib.loads(file.read_text(encoding="utf-8"))}


def _problems(exercise: Exercise) -> Iterator[str]:
    yield from _frame(exercise)
    yield from _answers(exercise)
    for student in _STUDENTS:
        sheet = Sheet(exercise, student)
        sheet.policy  # noqa: B018  # reading it finds a field that there is not
        sheet.documents("given")
        if "{{" in sheet.task:
            yield "task.md shows a template"
        yield from leaks(sheet)
    if exercise.parameters and Sheet(exercise, "ann").task == Sheet(exercise, "ben").task:
        yield "two students get the same task"


def _frame(exercise: Exercise) -> Iterator[str]:
    if not exercise.claims:
        yield "it is drawn from no claim"
    for id_ in sorted(set(exercise.claims) - known_claims()):
        yield f"there is no claim {id_}"
    for name in exercise.prerequisites:
        if not (exercise.folder.parent / name).is_dir() and name not in exercise_names():
            yield f"there is no exercise {name}, which comes before it"
    for each in exercise.criteria:
        if each.points and not each.hints:
            yield f"{each.id} has no hint"
        if each.hints and not each.hints[0].rstrip().endswith("?"):
            yield f"the first hint of {each.id} does not ask"


def _answers(exercise: Exercise) -> Iterator[str]:
    starter = exercise.folder / "starter"
    if not starter.is_dir():
        yield "there is no starter/"
        return
    if len(exercise.solutions) < 2 or "solution" not in exercise.solutions:
        yield "it needs solution/ and another one in other-solutions/NAME/"
    sheet = Sheet(exercise)
    seen: dict[str, str] = {}
    for name, folder in {
        "starter": starter,
        **exercise.solutions,
        **exercise.wrong_answers,
    }.items():
        objects = yaml.safe_dump(_objects(sheet, folder))
        if objects in seen:
            yield f"{name} says the same as {seen[objects]}"
        seen[objects] = name
    said, there = {each.name for each in exercise.wrong}, set(exercise.wrong_answers)
    for name in sorted(said - there):
        yield f"there is no wrong/{name}/"
    for name in sorted(there - said):
        yield f"exercise.yaml does not say what wrong/{name} scores"
    lost = set().union(*(each.loses for each in exercise.wrong))
    for each in exercise.criteria:
        if each.id not in lost:
            yield f"no wrong answer loses {each.id}: nothing shows that it can be missed"


def _objects(sheet: Sheet, folder: Path) -> list[object]:
    return [
        document
        for text in sheet.files(folder).values()
        for document in yaml.safe_load_all(text)
        if document is not None
    ]
