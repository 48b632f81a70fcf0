"""An exercise as the course wrote it: exercise.yaml, and the folders beside it.

    NAME/
      exercise.yaml    title, claims, parameters, policy, criteria with their points and hints
      task.md          what the student reads
      given/           the course's own objects; given/PARAMETER/ for a second namespace
      starter/         what the student begins with; scores 0
      solution/        full marks, and so does each of other-solutions/NAME/
      wrong/NAME/      named wrong answers, whose scores exercise.yaml says

All of it but exercise.yaml's frame may name parameters as {{ name }}.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from servicelab.errors import UsageError
from servicelab.grading.parameters import Parameter, parameter

FILE = "exercise.yaml"
DIFFICULTIES = ("easy", "medium", "hard")
ARRANGEMENTS = ("metallb",)
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_KEYS = {
    *("title", "difficulty", "prerequisites", "claims", "parameters", "policy", "criteria"),
    *("wrong", "arrangement", "turn", "seconds"),
}


@dataclass(frozen=True, slots=True)
class Criterion:
    """What gives points.

    Attributes:
        id: its name in results.
        says: what it asks for, in a sentence; may name parameters.
        points: what it gives; 0 for one that only others need.
        check: a word of the vocabulary.
        arguments: what the word is told; may name parameters.
        needs: criteria that must be met first; unmet, this one is not looked at.
        hints: from a question to nearly the answer; may name parameters.
        seconds: how long its check may take; None for as long as most do.
    """

    id: str
    says: str
    points: int
    check: str
    arguments: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class WrongAnswer:
    """What a named wrong answer must get.

    Attributes:
        name: its folder's, below wrong/.
        score: the points that it must get.
        loses: the criteria that it must not meet, all of them.
        refused: it must be refused, which gives 0 points.
    """

    name: str
    score: int
    loses: frozenset[str] = frozenset()
    refused: bool = False


@dataclass(frozen=True)
class Exercise:
    """An exercise, the same for every student; `Sheet` is what one of them gets.

    Attributes:
        name: its folder's name.
        folder: where it stands.
        title: a few words.
        difficulty: one of DIFFICULTIES.
        prerequisites: exercises that come before it.
        claims: ids of the claims that it is drawn from, as in the labs' claims.toml.
        parameters: what is drawn for each student.
        policy: what the submission may hold; fields of the intake's Policy.
        criteria: what gives points, in the order of the report.
        wrong: the named wrong answers.
        arrangement: what it needs beside a cluster: "metallb" or "".
        turn: names what only one submission on a cluster can use at a time; may name parameters.
        seconds: how long all its checks together may take; None for as long as most do.
    """

    name: str
    folder: Path
    title: str
    difficulty: str
    prerequisites: tuple[str, ...]
    claims: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    policy: Mapping[str, Any]
    criteria: tuple[Criterion, ...]
    wrong: tuple[WrongAnswer, ...]
    arrangement: str = ""
    turn: str = ""
    seconds: float | None = None

    @property
    def possible(self) -> int:
        """The points that it gives."""
        return sum(each.points for each in self.criteria)

    @property
    def needs_ours(self) -> str:
        """What it needs that only a cluster of servicelab's own has; "" if nothing."""
        from servicelab.grading.vocabulary import ASK_FROM_OUTSIDE

        if self.arrangement:
            return f"{self.arrangement}, installed for the exercise"
        asking = [each.id for each in self.criteria if each.check in ASK_FROM_OUTSIDE]
        return f"a host outside, beside its nodes, which {asking[0]} asks from" if asking else ""

    @cached_property
    def version(self) -> str:
        """A digest of its files, in hexadecimal: results of two versions can't be compared."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.relative_to(self.folder).as_posix().encode() + b"\0")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:16]

    @property
    def solutions(self) -> dict[str, Path]:
        """The folders of its correct answers, by name."""
        return {
            name: path
            for name, path in {
                "solution": self.folder / "solution",
                **self._in("other-solutions"),
            }.items()
            if path.is_dir()
        }

    @property
    def wrong_answers(self) -> dict[str, Path]:
        """The folders of its wrong answers, by name."""
        return self._in("wrong")

    def _in(self, folder: str) -> dict[str, Path]:
        return {
            path.name: path for path in sorted((self.folder / folder).glob("*")) if path.is_dir()
        }


def load(folder: Path) -> Exercise:
    """Read an exercise.

    Raises:
        UsageError: its exercise.yaml is missing or says something that can't be used.
    """
    file = folder / FILE
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"there is no {FILE} in {folder}", remedy="`servicelab exercise new NAME` writes one"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file} can't be read: {error}") from None
    if not isinstance(said, dict):
        raise UsageError(f"{file} holds no mapping")
    return _Reading(str(file)).exercise(folder, said)


class _Reading:
    """Reads what one file says; `where` is its name in errors."""

    def __init__(self, where: str) -> None:
        self.where = where

    def exercise(self, folder: Path, said: Mapping[str, Any]) -> Exercise:
        self._known(said, _KEYS, "the exercise")
        drawn = self._mapping(said, "parameters")
        criteria = tuple(map(self._criterion, self._list(said, "criteria")))
        self._check_needs(criteria)
        wrong = tuple(
            self._wrong_answer(name, each, criteria)
            for name, each in self._mapping(said, "wrong").items()
        )
        return Exercise(
            name=folder.resolve().name,
            folder=folder,
            title=self._text(said, "title"),
            difficulty=self._one_of(said, "difficulty", DIFFICULTIES),
            prerequisites=self._words(said, "prerequisites"),
            claims=self._words(said, "claims"),
            parameters={name: parameter(name, each, self.where) for name, each in drawn.items()},
            policy=self._mapping(said, "policy"),
            criteria=criteria,
            wrong=wrong,
            arrangement=self._one_of(said, "arrangement", ("", *ARRANGEMENTS), ""),
            turn=self._text(said, "turn", ""),
            seconds=said.get("seconds"),
        )

    def _criterion(self, said: Any) -> Criterion:
        if not isinstance(said, dict):
            self._wrong("a criterion is no mapping")
        self._known(said, {each.name for each in dataclasses.fields(Criterion)}, "a criterion")
        id_ = self._text(said, "id")
        if not _ID.fullmatch(id_):
            self._wrong(f"the criterion {id_!r} is not written in small letters, digits and -")
        check = said.get("check")
        if not isinstance(check, dict) or len(check) != 1:
            self._wrong(f"the criterion {id_} has no check of the form WORD: {{ARGUMENT: VALUE}}")
        ((word, arguments),) = check.items()
        points = said.get("points")
        if not isinstance(points, int) or isinstance(points, bool) or points < 0:
            self._wrong(f"the points of {id_} are {points!r}, no whole number from 0")
        from servicelab.grading.vocabulary import check_use

        if problem := check_use(word, arguments or {}):
            self._wrong(f"the check of {id_} can't be used: {problem}")
        return Criterion(
            id=id_,
            says=self._text(said, "says"),
            points=points,
            check=word,
            arguments=arguments or {},
            needs=self._words(said, "needs"),
            hints=self._words(said, "hints"),
            seconds=said.get("seconds"),
        )

    def _check_needs(self, criteria: tuple[Criterion, ...]) -> None:
        before: set[str] = set()
        for each in criteria:
            if each.id in before:
                self._wrong(f"there are two criteria named {each.id}")
            if unknown := sorted(set(each.needs) - before):
                self._wrong(f"{each.id} needs {unknown[0]}, which is no criterion before it")
            before.add(each.id)
        if not sum(each.points for each in criteria):
            self._wrong("its criteria give no points")

    def _wrong_answer(self, name: str, said: Any, criteria: tuple[Criterion, ...]) -> WrongAnswer:
        if not isinstance(said, dict):
            self._wrong(f"the wrong answer {name} is no mapping")
        self._known(said, {"score", "loses", "refused"}, f"the wrong answer {name}")
        refused = bool(said.get("refused"))
        loses = frozenset(self._words(said, "loses"))
        points = {each.id: each.points for each in criteria}
        if unknown := sorted(loses - set(points)):
            self._wrong(f"the wrong answer {name} loses {unknown[0]}, which is no criterion")
        left = 0 if refused else sum(points.values()) - sum(points[each] for each in loses)
        score = said.get("score", 0 if refused else None)
        if score != left:
            self._wrong(
                f"the wrong answer {name} is said to score {score}, but what it loses leaves {left}"
            )
        return WrongAnswer(name, left, loses, refused)

    def _wrong(self, problem: str) -> Any:
        raise UsageError(f"in {self.where}, {problem}")

    def _known(self, said: Mapping[str, Any], keys: set[str], what: str) -> None:
        if unknown := sorted(set(map(str, said)) - keys):
            self._wrong(f"{what} has a key {unknown[0]!r}; known are {', '.join(sorted(keys))}")

    def _text(self, said: Mapping[str, Any], key: str, default: str | None = None) -> str:
        value = said.get(key, default)
        if not isinstance(value, str) or not (value or default == ""):
            self._wrong(f"{key} is {value!r}, no text")
        return str(value)

    def _one_of(
        self, said: Mapping[str, Any], key: str, known: tuple[str, ...], default: str | None = None
    ) -> str:
        value = self._text(said, key, default)
        if value not in known:
            self._wrong(f"{key} is {value!r}, none of {', '.join(filter(None, known))}")
        return value

    def _list(self, said: Mapping[str, Any], key: str) -> list[Any]:
        value = said.get(key) or []
        if not isinstance(value, list):
            self._wrong(f"{key} is no list")
        return list(value)

    def _words(self, said: Mapping[str, Any], key: str) -> tuple[str, ...]:
        return tuple(map(str, self._list(said, key)))

    def _mapping(self, said: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = said.get(key) or {}
        if not isinstance(value, dict):
            self._wrong(f"{key} is no mapping")
        return dict(value)
