"""Parameters: each student's own, the same every time, and never two alike."""

from __future__ import annotations

import pytest

from servicelab.errors import UsageError
from servicelab.grading.parameters import WORDS, draw, parameter

WRITTEN = {"app": "word", "other": "word", "port": "8000..8999", "stock": "namespace"}


def drawn(student: str, seed: str = "", **more: object) -> dict[str, str | int]:
    """What a student gets."""
    parameters = {
        name: parameter(name, written, "here") for name, written in (WRITTEN | more).items()
    }
    return draw(parameters, "ex", student, seed)


def test_one_student_gets_the_same_every_time() -> None:
    """Drawn twice, the values are equal."""
    assert drawn("ann") == drawn("ann")


def test_students_and_courses_differ() -> None:
    """Among many students and seeds hardly two get the same."""
    sheets = [drawn(f"student-{n}") for n in range(50)] + [drawn("ann", f"s{n}") for n in range(50)]

    assert len({tuple(sheet.values()) for sheet in sheets}) >= 99


def test_no_two_values_are_the_same() -> None:
    """Two names of one sheet never coincide, nor two numbers."""
    for n in range(300):
        values = drawn(str(n), low="1..3", high="1..3", middle="1..3")

        assert len(set(values.values())) == len(values)


def test_a_new_parameter_leaves_the_others() -> None:
    """An exercise that gets a parameter more keeps what its students have."""
    assert drawn("ann").items() <= drawn("ann", late="1..9").items()


def test_words_are_names_of_which_none_is_in_another() -> None:
    """They can name objects, and a wrong one can't pass for another's part."""
    assert len(set(WORDS)) == len(WORDS)
    for word in WORDS:
        assert word.isalpha()
        assert word.islower()
        assert not [other for other in WORDS if word in other and other != word]


@pytest.mark.parametrize("written", ["wrd", "9..3", "5..5", 7, [], ["one"], [1.5, 2], None])
def test_what_can_t_be_drawn_from_is_refused(written: object) -> None:
    """One sentence says the parameter, the file, and what may stand there."""
    with pytest.raises(UsageError, match=r"parameter app in here can't be drawn.*FIRST\.\.LAST"):
        parameter("app", written, "here")


@pytest.mark.parametrize("name", ["App", "my-app", "1st", ""])
def test_a_name_that_no_template_can_use_is_refused(name: str) -> None:
    """{{ my-app }} would be a subtraction."""
    with pytest.raises(UsageError, match="can't be used in a template"):
        parameter(name, "word", "here")
