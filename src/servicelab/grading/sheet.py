"""An exercise as one student has it: their names and numbers written into everything."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servicelab.errors import UsageError
from servicelab.grading.exercise import Criterion, Exercise
from servicelab.grading.parameters import Value, draw

if TYPE_CHECKING:
    from servicelab.grading.intake import Policy


class Sheet:
    """One student's exercise.

    Args:
        exercise: as the course wrote it.
        student: whose; "" has names and numbers of its own.
        seed: the course's.
        values: the names and numbers, as a note beside the student's work says them; None draws
            them. For students who check their own work: what counts is drawn.

    Attributes:
        exercise: as the course wrote it.
        student: whose.
        values: the student's names and numbers.
    """

    def __init__(
        self,
        exercise: Exercise,
        student: str = "",
        seed: str = "",
        values: Mapping[str, Value] | None = None,
    ) -> None:
        self.exercise = exercise
        self.student = student
        self.values: Mapping[str, Value] = (
            draw(exercise.parameters, exercise.name, student, seed) if values is None else values
        )

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The parameters that name a second namespace."""
        return tuple(name for name, each in self.exercise.parameters.items() if each.is_namespace)

    @cached_property
    def task(self) -> str:
        """What the student reads."""
        return self._file(self.exercise.folder / "task.md")

    @property
    def turn(self) -> str:
        """What only one submission on a cluster can use at a time; "" for nothing."""
        return self.text(self.exercise.turn, "turn")

    @cached_property
    def criteria(self) -> tuple[Criterion, ...]:
        """The criteria, for this student."""
        return tuple(self._criterion(each) for each in self.exercise.criteria)

    @cached_property
    def policy(self) -> Policy:
        """What the submission may hold.

        Raises:
            UsageError: the exercise's policy has a field that there is not.
        """
        from servicelab.grading.intake import Policy

        known = {each.name for each in dataclasses.fields(Policy)}
        fields: dict[str, Any] = {}
        default = Policy.default()
        for name, value in self.value(self.exercise.policy).items():
            if name not in known:
                raise UsageError(
                    f"the policy of {self.exercise.name} has no field {name!r}",
                    remedy=f"known are {', '.join(sorted(known))}",
                )
            if name == "kinds":
                fields[name] = frozenset(tuple(each.split()) for each in value)
            elif isinstance(getattr(default, name), frozenset):
                fields[name] = frozenset(value)
            else:
                fields[name] = tuple(value) if isinstance(value, list) else value
        return dataclasses.replace(default, **fields)

    def documents(self, folder: str, space: str = "") -> list[dict[str, Any]]:
        """The objects that a folder of the exercise holds.

        Args:
            folder: its name, such as "given".
            space: the parameter of a second namespace; "" for the main one.
        """
        from servicelab.lab.manifests import parse_manifest

        path = self.exercise.folder / folder / space
        if not path.is_dir():
            return []
        return [
            document
            for name, text in self.files(path).items()
            if "/" not in name
            for document in parse_manifest(text, f"{folder}/{name}")
        ]

    def files(self, folder: Path) -> dict[str, str]:
        """The files of a folder and those below it, by their path there."""
        return {
            path.relative_to(folder).as_posix(): self._file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    def write(self, folder: Path, to: Path) -> list[Path]:
        """Write a folder's files for this student; returns what was written."""
        written = []
        for name, text in self.files(folder).items():
            target = to / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            written.append(target)
        return written

    def text(self, template: str, where: str) -> str:
        """A text with this student's names and numbers.

        Raises:
            UsageError: it names a parameter that there is not.
        """
        if "{{" not in template and "{%" not in template:
            return template
        from jinja2 import Environment, StrictUndefined, TemplateError

        environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
        try:
            return environment.from_string(template).render(self.values)
        except TemplateError as error:
            raise UsageError(
                f"{where} of the exercise {self.exercise.name} can't be written for a student: "
                f"{error}",
                remedy=f"its parameters are {', '.join(self.values) or 'none'}",
            ) from None

    def value(self, said: Any) -> Any:
        """Data with this student's names and numbers; what is a number then, is one."""
        if isinstance(said, str):
            written = self.text(said, repr(said))
            return int(written) if "{{" in said and written.isdecimal() else written
        if isinstance(said, Mapping):
            return {self.value(key): self.value(each) for key, each in said.items()}
        if isinstance(said, list | tuple):
            return [self.value(each) for each in said]
        return said

    def _file(self, path: Path) -> str:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} can't be read: {error}") from None
        return self.text(text, path.relative_to(self.exercise.folder).as_posix())

    def _criterion(self, each: Criterion) -> Criterion:
        return dataclasses.replace(
            each,
            says=self.text(each.says, f"criterion {each.id}"),
            arguments=self.value(each.arguments),
            hints=tuple(self.text(hint, f"a hint of {each.id}") for hint in each.hints),
        )
