"""A wait that ended in vain says, in few lines, all that is known."""

from __future__ import annotations

import pytest

from servicelab.verdict.message import (
    Explanation,
    NotProved,
    Observation,
    Waited,
    expected,
    heading,
    in_words,
    last_saw,
)


def seen(*told: str) -> list[Observation]:
    return [Observation(words, number) for number, words in enumerate(told)]


def waited(**changes: object) -> Waited:
    values: dict[str, object] = {
        "expecting": "Service a/web should answer 200",
        "asked_from": "outside",
        "seconds": 30.04,
        "deadline": "deadlines.service_reachable",
        "best_run": 0,
        "in_a_row": 1,
        "seen": seen("timed out"),
    }
    return Waited(**(values | changes))  # type: ignore[arg-type]


def test_lines_without_content_are_left_out() -> None:
    """One try, no run, no cause: three lines."""
    assert str(waited()) == (
        "Service a/web should answer 200, asked from outside\n"
        "  waited     30.0 s (deadlines.service_reachable), 1 try\n"
        "  last saw   timed out at 0.0 s"
    )


def test_the_claim_stands_first() -> None:
    """Within a heading each message begins with it; outside it does not."""
    with heading("NP-01 not proved (iptables)"):
        inside = str(waited())

    assert inside.startswith("NP-01 not proved (iptables): Service a/web should answer 200,")
    assert str(waited()).startswith("Service")


def test_a_cause_of_several_lines_stays_in_its_column() -> None:
    """Further lines of an explanation are indented under its first."""
    message = str(waited(explanation=Explanation(broken_at="EndpointSlice: none\nPod a: Pending")))

    assert message.endswith("  broken at  EndpointSlice: none\n             Pod a: Pending")


@pytest.mark.parametrize(
    ("expecting", "first"),
    [
        ("the Pod should answer", "the Pod should answer, asked from outside"),
        ("every Pod to answer", "expected every Pod to answer, asked from outside"),
    ],
)
def test_an_expectation_reads_as_a_sentence(expecting: str, first: str) -> None:
    """ "x should …" stands as it is; "x to …" is what was expected."""
    assert expected(expecting, "outside") == first


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ((), "nothing: no try was made"),
        (("a", "a", "a"), "a at 2.0 s (the same every time)"),
        (("a", "a", "b", "a"), "a at 3.0 s (before: 2x a, 1x b)"),
        (
            ("a", "b", "c", "d", "e", "e"),
            "e at 5.0 s (before: 1x a, 1x b, 1x c, 2x something else)",
        ),
        (("",), "nothing at 0.0 s"),
    ],
)
def test_the_last_answer_and_what_came_before(told: tuple[str, ...], line: str) -> None:
    """Earlier answers are counted by kind, the rarest together."""
    assert last_saw(seen(*told)) == line


def test_an_endless_answer_is_cut() -> None:
    """A page of HTML does not drown the message."""
    assert len(last_saw(seen("word " * 1000))) < 350


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("text", "text"),
        (["a", "b"], "a; b"),
        ([], "nothing"),
        ({"web-1": [200, 200]}, "web-1: 200; 200"),
        (7, "7"),
        (b"raw", "b'raw'"),
    ],
)
def test_answers_are_told_without_brackets(answer: object, words: str) -> None:
    """Lists and mappings read as their members do."""
    assert in_words(answer) == words


def test_reports_call_it_servicelab_not_proved() -> None:
    """The exception's name in a report is short."""
    assert f"{NotProved.__module__}.{NotProved.__qualname__}" == "servicelab.NotProved"
