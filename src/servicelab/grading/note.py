"""A note beside a student's work: whose it is, and which names and numbers the task has.

So students can check their work, and get hints, without knowing the course's seed. Grading that
counts never reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from servicelab.errors import UsageError
from servicelab.grading.exercise import Exercise
from servicelab.grading.parameters import Value, could_be
from servicelab.grading.sheet import Sheet

#: Hidden, and no manifest by its name: it is not handed in.
FILE = ".exercise"


@dataclass(frozen=True, slots=True)
class Note:
    """What a note says.

    Attributes:
        student: whose work it is.
        values: the names and numbers.
    """

    student: str
    values: dict[str, Value]


def write_note(sheet: Sheet, folder: Path) -> None:
    """Write the note of a student's sheet into the folder of their work."""
    said = {
        "exercise": sheet.exercise.name,
        "student": sheet.student,
        "values": dict(sheet.values),
    }
    (folder / FILE).write_text(json.dumps(said) + "\n", encoding="utf-8")


def read_note(exercise: Exercise, path: Path) -> Note | None:
    """The note beside a submission; None if there is none.

    Args:
        exercise: what the submission is for.
        path: the folder, or a manifest in it.

    Raises:
        UsageError: it is another exercise's, or says what could never have been drawn.
    """
    file = (path if path.is_dir() else path.parent) / FILE
    if not file.is_file():
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        note = Note(str(said["student"]), dict(said["values"]))
        name = said["exercise"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"{file} can't be read", remedy="`servicelab exercise start` writes it anew"
        ) from None
    if name != exercise.name:
        raise UsageError(f"{file} belongs to the exercise {name!r}", remedy="check that one")
    if note.values.keys() != exercise.parameters.keys() or not all(
        could_be(parameter, note.values[each]) for each, parameter in exercise.parameters.items()
    ):
        raise UsageError(
            f"{file} does not fit this version of the exercise",
            remedy="`servicelab exercise start` writes it anew",
        )
    return note
