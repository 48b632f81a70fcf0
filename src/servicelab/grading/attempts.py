"""The attempts of a student at an exercise, kept beside their work."""

from __future__ import annotations

import json
from pathlib import Path

from servicelab.grading.results import Grade, State
from servicelab.report.safe_text import file_name

#: Below the folder that the student works in.
ATTEMPTS = Path(".servicelab") / "attempts"


class Attempts:
    """What one student got for one exercise, attempt by attempt.

    Args:
        exercise: its name.
        student: whose; "" for nobody's.
        root: where attempts are kept.
    """

    def __init__(self, exercise: str, student: str, root: Path = ATTEMPTS) -> None:
        self.folder = root / file_name(exercise) / file_name(student or "nobody")

    def all(self) -> list[Grade]:
        """Every attempt that can be read, the first one first."""
        found = []
        for path in sorted(self.folder.glob("[0-9]*.json")):
            try:
                found.append(Grade.from_json(json.loads(path.read_text(encoding="utf-8"))))
            except (ValueError, KeyError, TypeError):
                continue  # of another version of servicelab: no use to the student any more
        return found

    def keep(self, grade: Grade) -> str:
        """Keep an attempt; returns how it differs from the last one, in a sentence."""
        before = self.all()
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(each.stem) for each in self.folder.glob("[0-9]*.json")), default=0)
        text = json.dumps(grade.to_json(), indent=1)
        (self.folder / f"{number:04}.json").write_text(text + "\n", encoding="utf-8")
        return f"attempt {number}: {difference(before[-1] if before else None, grade)}"

    def next_hint(self, criterion: str, *, of: int) -> int:
        """The number of the hint that comes next, from 0; the last one is given again."""
        path = self.folder / "hints.json"
        try:
            given = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            given = {}
        number = min(int(given.get(criterion, 0)), of - 1)
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(given | {criterion: number + 1}) + "\n", encoding="utf-8")
        return number


def difference(before: Grade | None, now: Grade) -> str:
    """How an attempt differs from the one before it, in a sentence."""
    if before is None:
        return "the first"
    if now.score is None or before.score is None:
        return f"{now.outcome}; the last one was {before.outcome}"
    if before.version != now.version:
        return "the exercise has changed since the last one"
    if before.submission == now.submission:
        return "nothing was changed since the last one"
    passed = {each.id for each in before.criteria if each.state is State.PASSED}
    passes = {each.id for each in now.criteria if each.state is State.PASSED}
    points = now.score - before.score
    parts = [f"{points:+d} points" if points else "as many points as before"]
    if won := sorted(passes - passed):
        parts.append(f"now met: {', '.join(won)}")
    if lost := sorted(passed - passes):
        parts.append(f"no longer met: {', '.join(lost)}")
    return "; ".join(parts)
