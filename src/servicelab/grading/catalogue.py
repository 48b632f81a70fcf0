"""The exercises that there are."""

from __future__ import annotations

from pathlib import Path

from servicelab.content import content_root
from servicelab.errors import UsageError
from servicelab.grading.exercise import FILE, Exercise, load


def exercises_root() -> Path:
    """The folder of the exercises that travel with this installation."""
    return content_root() / "exercises"


def exercise_names(root: Path | None = None) -> list[str]:
    """The exercises in a folder, by default those of this installation."""
    return sorted(path.parent.name for path in (root or exercises_root()).glob(f"*/{FILE}"))


def find_exercise(name: str) -> Exercise:
    """An exercise by its name, or by a path to its folder.

    Raises:
        UsageError: there is no such exercise, or it can't be used.
    """
    # First: a folder here may have the exercise's name, and be a student's, who decides on what it
    # holds. A course's own folder of such a name is ./NAME.
    if name in exercise_names():
        return load(exercises_root() / name)
    given = Path(name)
    if (given / FILE).is_file():
        return load(given)
    raise UsageError(
        f"there is no exercise {name!r}",
        remedy=f"choose from {', '.join(exercise_names()) or 'none'}, or give a folder",
    )


def all_exercises() -> list[Exercise]:
    """Every exercise of this installation, the easy ones first.

    Raises:
        UsageError: one of them can't be used.
    """
    from servicelab.grading.exercise import DIFFICULTIES

    found = [load(exercises_root() / name) for name in exercise_names()]
    return sorted(found, key=lambda each: (DIFFICULTIES.index(each.difficulty), each.name))
