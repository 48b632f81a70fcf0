"""Submissions and exercises as ConfigMaps: written here, unpacked again in a Pod.

What is in them is data throughout: a name or a text of a student's is no argument, no path outside
the folder that it is unpacked into, and no key of an object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servicelab.errors import UsageError
from servicelab.grading.classroom.submissions import HandedIn
from servicelab.grading.exercise import Exercise, load

MOST_BYTES = 1 << 20
"""What a ConfigMap may hold; the API server refuses more."""
HOLDS = "servicelab/holds"
"""The label that says what a ConfigMap of a Job is."""
SHARD = "servicelab/shard"
"""The label that says whose part a submission is in, from 1."""
_KEY = "parcel"


class TooLarge(UsageError):
    """Something does not fit into a ConfigMap."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Files on their way into a cluster.

    Attributes:
        exercise: the exercise's name.
        student: whose submission; "" for the exercise itself.
        files: name in the submission or the exercise, and content.
    """

    exercise: str
    student: str
    files: tuple[tuple[str, str], ...]

    def config_map(self, name: str, *, shard: int = 0) -> dict[str, Any]:
        """The object that carries it.

        Args:
            name: the object's.
            shard: the part that a submission is in.

        Raises:
            TooLarge: a ConfigMap can't hold it.
        """
        said = {"exercise": self.exercise, "student": self.student, "files": self.files}
        text = json.dumps(said, ensure_ascii=False)
        size = len(text.encode())
        if size > MOST_BYTES:
            raise TooLarge(
                f"{self} has {size / 1024:.0f} KiB, and a ConfigMap holds {MOST_BYTES >> 10}",
                remedy="grade it with `servicelab grade`, which needs none",
            )
        labels = {HOLDS: "submission", SHARD: str(shard)} if self.student else {HOLDS: "exercise"}
        return {"metadata": {"name": name, "labels": labels}, "data": {_KEY: text}}

    def __str__(self) -> str:
        if self.student:
            return f"the submission of {self.student} for {self.exercise}"
        return f"the exercise {self.exercise}"


def parcel_of(handed_in: HandedIn) -> Parcel:
    """A submission's files, read as the intake reads them: no link is followed.

    Raises:
        Refused: it is not what it was when it was looked at.
        UsageError: it is no longer there.
        UnicodeDecodeError: the same as Refused.
    """
    from servicelab.grading.intake.gathering import gather

    files = tuple((name, content.decode()) for name, content in gather(handed_in.path).files)
    return Parcel(handed_in.exercise.name, handed_in.student, files)


def parcel_of_exercise(exercise: Exercise) -> Parcel:
    """An exercise's files, which the Pods need: they have only those of their image.

    Raises:
        UsageError: one of them is no text.
    """
    files = []
    for path in sorted(exercise.folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(exercise.folder).as_posix()
            try:
                files.append((name, path.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{path} can't be read: {error}") from None
    return Parcel(exercise.name, "", tuple(files))


def read_parcels(config_maps: Iterable[Any]) -> list[Parcel]:
    """Parcels from the ConfigMaps that carry them.

    Raises:
        UsageError: one of them carries none.
    """
    found = []
    for each in config_maps:
        try:
            said = json.loads((each.data or {})[_KEY])
            files = tuple((str(name), str(text)) for name, text in said["files"])
            found.append(Parcel(str(said["exercise"]), str(said["student"]), files))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"the ConfigMap {each.metadata.name} is no parcel of this servicelab: {error}",
                remedy="let the Job's image be of the version that made the Job",
            ) from None
    return found


def unpack_exercise(parcel: Parcel, root: Path) -> Exercise:
    """An exercise, below a folder; its files are as they were, so it has the same version.

    Raises:
        UsageError: it can't be used.
    """
    return load(_write(parcel, root / "exercises" / parcel.exercise))


def unpack_submission(parcel: Parcel, exercise: Exercise, root: Path, number: int) -> HandedIn:
    """A submission, in a folder that is named after nobody.

    Raises:
        UsageError: a file's name leads out of it.
    """
    folder = _write(parcel, root / "submissions" / str(number))
    return HandedIn(parcel.student, exercise, folder)


def _write(parcel: Parcel, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, text in parcel.files:
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{parcel} has a file {name!r}, which would not lie in its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder
