"""Results on disk, one file each, so that a run that was killed loses nothing that was done."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from servicelab import __version__
from servicelab.errors import UsageError
from servicelab.grading.classroom.submissions import HandedIn
from servicelab.grading.results import Grade, Outcome
from servicelab.report.safe_text import file_name

#: Below the folder that the course works in.
SHELF = Path(".servicelab") / "grades"


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where grades are kept.

    Attributes:
        root: the folder.
        seed: the course's: with another one, students have other exercises.
    """

    root: Path
    seed: str = ""

    def keep(self, handed_in: HandedIn, grade: Grade) -> None:
        """Write a grade, in one step: a reader sees all of it, or the one before.

        Raises:
            UsageError: it can't be written.
        """
        path = self._path(handed_in)
        draft = path.with_suffix(f".{os.getpid()}")
        said = {"servicelab": __version__, "seed": self.seed, "grade": grade.to_json()}
        text = json.dumps(said, indent=1)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            raise UsageError(
                f"{path} can't be written: {error.strerror}", remedy="name another folder"
            ) from None

    def find(self, handed_in: HandedIn, digest: str) -> Grade | None:
        """The grade of this very submission, if it is there and says something about it.

        Args:
            handed_in: the submission.
            digest: of what it holds now.
        """
        try:
            kept = json.loads(self._path(handed_in).read_text(encoding="utf-8"))
            grade = Grade.from_json(kept["grade"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # none, or of another version of servicelab
        same = (
            kept.get("servicelab") == __version__
            and kept.get("seed") == self.seed
            and grade.student == handed_in.student
            and grade.version == handed_in.exercise.version
            and grade.submission == digest
        )
        return grade if same and digest and grade.outcome is not Outcome.NOT_GRADED else None

    def _path(self, handed_in: HandedIn) -> Path:
        name = f"{file_name(handed_in.student)}.json"
        return self.root / file_name(handed_in.exercise.name) / name
