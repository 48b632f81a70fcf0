"""Lines for a terminal: broken between words, below where their text began."""

from __future__ import annotations

import pytest

from servicelab.report.wrapped import hanging, terminal_width


def test_a_long_line_goes_on_below_where_it_began() -> None:
    """The head stands once; no word is lost, no line is wider than the terminal."""
    says = "Port 8775 of the Service is answered by these Pods, from every node and from a Pod"

    lines = hanging("   4  ", says, 40)

    assert len(lines) == 3
    assert max(map(len, lines)) <= 40
    assert lines[0].startswith("   4  Port")
    assert {line[:6] for line in lines[1:]} == {" " * 6}
    assert " ".join(line[6:] for line in lines) == says


@pytest.mark.parametrize("width", [0, 80])
def test_what_has_room_is_left_as_it_is(width: int) -> None:
    """Without a terminal there is no end; two blanks in a text that fits stay two."""
    assert hanging("a: ", "b  c", width) == ["a: b  c"]


def test_a_text_that_begins_at_the_edge_still_has_room() -> None:
    """A narrow terminal breaks such a line itself, instead of getting a letter a line."""
    assert hanging(" " * 78, "one two three", 80) == [" " * 78 + "one two three"]


def test_what_is_no_terminal_has_no_width() -> None:
    """Output that goes into a file is not broken."""
    assert terminal_width() == 0
