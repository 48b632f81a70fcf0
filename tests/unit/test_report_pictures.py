"""A picture says who asked and who answered, and how often, whatever the names are."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from servicelab.report.page.pictures import WIDTH, Picture, pictures


def flow(asked_from: str, answered_by: str, times: int = 10, **more: Any) -> dict[str, Any]:
    found = {"kind": "http", "to": "10.96.0.7:8080", "to_name": "Service web", "ok": True}
    return {**found, "asked_from": asked_from, "answered_by": answered_by, "times": times, **more}


def counted(picture: Picture) -> list[tuple[int, str]]:
    """Who answered, and how often, as the labels say it."""
    words = [label.whole.split(" ", 2) for label in picture.answerers]
    return [(int(times), name) for times, _, name in words]


def test_each_way_is_a_band() -> None:
    """Every asker and answerer has its place, and each way its band and its words."""
    askers, pods = ("Pod client", "dev-worker"), ("web-1", "web-2", "web-3")
    ((picture,), _) = pictures([flow(a, p, n) for n, (a, p) in enumerate(product(askers, pods), 1)])

    assert (picture.name, picture.to, picture.times) == ("Service web", "http 10.96.0.7:8080", 21)
    assert [label.whole for label in picture.askers] == list(askers)
    assert counted(picture) == [(5, "web-1"), (7, "web-2"), (9, "web-3")]
    assert len(picture.streams) == 6
    assert picture.words.startswith("dev-worker to web-3: 6; ")
    assert len({label.style for label in picture.answerers}) == 3
    assert all(0 < label.y < picture.height for label in (*picture.askers, *picture.answerers))


def test_the_most_asked_comes_first_and_thick() -> None:
    """Bands are as thick as there were requests, within what can be drawn."""
    drawn, _ = pictures(
        [flow("c", "web-1", 1), flow("c", "web-2", 99), flow("c", "x", 500, to="10.0.0.1:80")]
    )

    assert [picture.times for picture in drawn] == [500, 100]
    thick, thin = drawn[1].streams
    assert 8 < thick.width <= 9
    assert 1 < thin.width < 2


def test_who_did_not_answer_stands_below_and_apart() -> None:
    """An error is no backend: it has no colour of one."""
    ((picture,), _) = pictures([flow("c", "refused", 3, ok=False), flow("c", "web-1", 5)])

    assert counted(picture) == [(5, "web-1"), (3, "refused")]
    assert [label.style for label in picture.answerers] == ["c0", "silent"]


def test_too_many_become_others() -> None:
    """A hundred Pods do not make a picture of a hundred lines; no request is lost."""
    ((picture,), _) = pictures([flow(f"n{n % 9}", f"web-{n}", n + 1) for n in range(100)])

    assert len(picture.askers) <= 6
    assert len(picture.answerers) <= 8
    assert picture.answerers[-1].whole.endswith("others")
    assert picture.times == sum(range(1, 101))
    assert picture.height < 200


def test_a_long_name_keeps_its_end() -> None:
    """Pods of one Deployment differ at the end."""
    ((picture,), _) = pictures([flow("c", f"web-{'x' * 40}-7f3ab"), flow("c", "web-2")])
    label = next(each for each in picture.answerers if "…" in each.text)

    assert label.text.endswith("-7f3ab")
    assert len(label.text) <= 22
    assert label.whole.endswith("x-7f3ab")


def test_a_request_or_two_is_a_line() -> None:
    """One way that few took needs no picture, but is told; so is what was said about names."""
    flows = [
        flow("Pod client", "refused", 1, kind="tcp", to="10.244.1.7:80", to_name="", ok=False),
        flow("Pod client", "NOERROR 10.96.0.7", 2, kind="dns", to="dns A web"),
        flow("dev-worker", "NOERROR 10.96.0.7", 1, kind="dns", to="dns A web"),
        flow("Pod client", "web-1", 2),
    ]

    drawn, said = pictures(flows)

    assert drawn == []
    assert [(each.asked, each.said, each.asked_from, each.times) for each in said] == [
        ("dns A web", "NOERROR 10.96.0.7", "Pod client, dev-worker", 3),
        ("tcp 10.244.1.7:80", "refused", "Pod client", 1),
        ("http 10.96.0.7:8080 (Service web)", "web-1", "Pod client", 2),
    ]


@pytest.mark.parametrize(
    "broken",
    [{}, {"kind": "http"}, {"times": "many"}, {"times": -1}, {"times": 0}, {"kind": 7, "times": 1}],
)
def test_what_is_no_flow_is_left_out(broken: dict[str, Any]) -> None:
    """The results may come from anywhere."""
    assert pictures([broken]) == ([], [])


def test_it_is_drawn_for_a_phone() -> None:
    """At its own size it fits a page of 360 pixels with its margins."""
    assert WIDTH <= 360
