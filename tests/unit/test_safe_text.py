"""What others wrote can't steer a terminal, climb out of a folder, or have no end."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from servicelab.report.safe_text import file_name, one_line, printable, within


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("over\rwritten", r"over\rwritten"),
        ("nul\x00 bell\x07 del\x7f csi\x9b", r"nul\x00 bell\x07 del\x7f csi\x9b"),
        ("exe\u202egnp.txt", r"exe\u202egnp.txt"),
        ("half \ud83d of a pair", r"half \ud83d of a pair"),
        ("line\r\nline\tcolumn", "line\nline\tcolumn"),
        ("naïve 名前 🎉", "naïve 名前 🎉"),
    ],
)
def test_control_codes_are_written_out(text: str, shown: str) -> None:
    """A terminal prints what stands there instead of obeying it; other text stays as it is."""
    assert printable(text) == shown
    printable(text).encode("utf-8")


def test_one_line_is_short_and_one_line() -> None:
    """Line breaks become spaces, and an endless text is not even looked through."""
    assert one_line("a\n  b\tc", 20) == "a b c"
    assert one_line("a" * 30, 10) == "aaaaaaaa …"
    assert one_line(" " * 50 + "a", 10) == " …"
    assert len(one_line("x" * 50_000_000, 80)) == 80


def test_a_long_text_says_what_is_left_out() -> None:
    """Its first or last part is kept, and how much there was besides is said."""
    assert within("abc", 3) == ("abc", False)
    assert within("abcdef", 2) == ("ab\n… 4 characters more are left out here …\n", True)
    assert within("abcdef", 2, "last") == (
        "… 4 characters before this are left out here …\nef",
        True,
    )
    assert within("abcdef", 2, of=100)[0].startswith("ab\n… 98 characters")


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "",
        ".hidden",
        "-rf",
        "a/b",
        "a\\b",
        "a\x00b",
        "con\x1b[2J",
        "x" * 5000,
        "ünïcode",
        "a..b",
        "名前",
        "\ud83d",
    ],
)
def test_any_name_gives_one_file_in_its_folder(name: str) -> None:
    """Whatever a name holds, the file lies in the folder it is meant for."""
    made = file_name(name)

    assert len(PurePosixPath(made).parts) == 1
    assert made.isascii()
    assert made.isprintable()
    assert not made.startswith((".", "-"))
    assert ".." not in made
    assert 0 < len(made) <= 60


def test_names_of_kubernetes_stay_as_they_are() -> None:
    """An ordinary name can be read; one that was changed differs from what it might clash with."""
    assert file_name("web-6d5f9c7b8d-x7z2k.web.txt") == "web-6d5f9c7b8d-x7z2k.web.txt"
    assert file_name("CIP-04-iptables") == "cip-04-iptables"
    assert len({file_name(name) for name in ("a/b", "a-b", "a\\b", "a//b", "../a-b")}) == 5
