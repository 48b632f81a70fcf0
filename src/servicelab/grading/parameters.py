"""An exercise's parameters: names, ports and numbers, drawn for each student.

Two students get different manifests to mend, so that an answer can't be handed on; one student gets
the same ones every time.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from servicelab.errors import UsageError

Value = str | int
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
NAME = re.compile(r"[a-z][a-z0-9_]*")
#: Names for applications: short DNS labels of which none is part of another.
WORDS = (
    *("acacia", "badger", "barley", "beacon", "birch", "bison", "canyon", "cedar", "cobalt"),
    *("condor", "copper", "coral", "cricket", "dahlia", "dolphin", "ember", "falcon", "fennel"),
    *("ferret", "garnet", "gecko", "ginger", "glacier", "harbor", "hazel", "heron", "indigo"),
    *("jasmine", "juniper", "kestrel", "lagoon", "larch", "lemur", "linden", "magnet", "mango"),
    *("maple", "marble", "meadow", "nectar", "nutmeg", "ocelot", "onyx", "orchid", "osprey"),
    *("panda", "pepper", "pigeon", "poplar", "quartz", "rabbit", "saffron", "salmon", "sequoia"),
    *("sparrow", "thistle", "tulip", "tundra", "turtle", "velvet", "walnut", "willow", "zephyr"),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a value is drawn from.

    Attributes:
        name: how templates call it.
        choices: the values; none for a namespace.
        is_namespace: it names a second namespace, which the exercise gets.
    """

    name: str
    choices: Sequence[Value]
    is_namespace: bool = False


def parameter(name: str, written: object, where: str) -> Parameter:
    """Read one entry of `parameters:`.

    Args:
        name: its key.
        written: "word", "namespace", "FIRST..LAST", or a list of values.
        where: the file, for an error.

    Raises:
        UsageError: it is none of these.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"the parameter {name!r} in {where} can't be used in a template",
            remedy="write small letters, digits and _",
        )
    if written == "word":
        return Parameter(name, WORDS)
    if written == "namespace":
        return Parameter(name, WORDS, is_namespace=True)
    if isinstance(written, str) and (match := _RANGE.fullmatch(written)):
        first, last = int(match[1]), int(match[2])
        if first < last:
            return Parameter(name, range(first, last + 1))
    values = written if isinstance(written, list) else []
    if len(values) > 1 and all(isinstance(value, str | int) for value in values):
        return Parameter(name, tuple(values))
    raise UsageError(
        f"the parameter {name} in {where} can't be drawn from {written!r}",
        remedy="write word, namespace, FIRST..LAST, or a list of two or more values",
    )


def draw(
    parameters: Mapping[str, Parameter], exercise: str, student: str, seed: str = ""
) -> dict[str, Value]:
    """The values that one student gets; no two of them are the same.

    Args:
        parameters: what to draw.
        exercise: the exercise's name.
        student: whose values; "" has values of its own.
        seed: the course's; another one gives everybody other values.
    """
    drawn: dict[str, Value] = {}
    for each in parameters.values():
        # A generator for each parameter: a new parameter leaves the others as they are.
        key = "\0".join((seed, exercise, student, each.name)).encode()
        source = random.Random(hashlib.sha256(key).digest())
        value = source.choice(each.choices)
        if value in drawn.values():
            left = [choice for choice in each.choices if choice not in drawn.values()]
            value = source.choice(left or each.choices)
        if each.is_namespace:
            value = f"{value}-{source.randrange(100, 1000)}"
        drawn[each.name] = value
    return drawn


def could_be(parameter: Parameter, value: object) -> bool:
    """Whether a value can have been drawn for a parameter."""
    if not parameter.is_namespace:
        return value in parameter.choices
    word, _, number = str(value).rpartition("-")
    return word in parameter.choices and number.isdecimal() and 100 <= int(number) < 1000
