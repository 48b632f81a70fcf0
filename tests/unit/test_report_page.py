"""The run's page says all that was measured, runs nothing, and can be read anywhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from servicelab.report.evidence.collection import collect
from servicelab.report.evidence.redaction import Redaction
from servicelab.report.evidence.sources import Piece
from servicelab.report.page import MOST_BYTES, render_run, write_evidence_page
from servicelab.report.page.told import told

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m{{ 7*7 }}{% raw %}"
FLOW = {
    "kind": "http",
    "asked_from": "Pod client",
    "to": "10.96.0.7:8080",
    "to_name": "Service web",
    "answered_by": "web-1",
    "by_pod": True,
    "ok": True,
    "times": 12,
}


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value or "" for attribute, value in self.attributes if attribute == name]


def claim(id_: str = "CIP-04", mode: str = "iptables", **more: Any) -> dict[str, Any]:
    test = {"nodeid": "test_it", "evidence": "", "traffic": [], "setup_seconds": 0.5}
    tests = [{**test, **each} for each in more.pop("tests", [{}])]
    found = {
        "id": id_,
        "lab": "clusterip",
        "says": f"what {id_} says",
        "mode": mode,
        "verdict": "holds",
        "known": None,
        "differs": "",
        "seen": "",
        "message": "",
        "seconds": 1.25,
        "tests": tests,
    }
    return {**found, **more}


def results(*claims: dict[str, Any], **run: Any) -> dict[str, Any]:
    facts = {"kubernetes_version": "v1.37.0", "modes": ["iptables"], "seconds": 171.3}
    return {"schema": 1, "servicelab": "0.1", "run": {**facts, **run}, "claims": list(claims)}


CHART = {
    "title": f"time {EVIL}",
    "x": "Services",
    "unit": "ms",
    "lines": [
        {"name": f"to the last {EVIL}", "points": [[100, 0.2, 0.1, 0.3], [5000, 0.8, 0.8, 0.8]]}
    ],
}


def page(content: dict[str, Any], folder: Path = Path("none")) -> Page:
    return Page(render_run(content, folder))


def test_the_page_tells_what_was_measured() -> None:
    """Facts, matrix, sentence, figures, known verdict, time, and how it ended."""
    known = {"verdict": "false", "detail": "", "kubernetes": ">=1.30", "modes": ["iptables"]}
    text = page(
        results(
            claim(),
            claim("CIP-09", seen="abcabc", known=known, differs="CIP-09 measured `holds`"),
            claim("CIP-11", verdict="skipped", message="this kernel has no ip_vs"),
            nodes=3,
            engine="private Docker Engine",
        )
    ).text

    for words in (
        *("1 of 3 claims to look at", "2 holds", "1 skipped", "v1.37.0", "2 min 51 s"),
        *("private Docker Engine", "what CIP-04 says", "1.2 s, setup 0.5 s"),
        *("CIP-09 measured `holds`", "false on Kubernetes >=1.30", "holds ≠ known"),
        "this kernel has no ip_vs",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("claims", "run", "headline"),
    [
        ([claim(), claim("CIP-05")], {}, "2 claims, all as known"),
        ([claim()], {}, "1 claim, all as known"),
        ([claim(), claim("CIP-05", verdict="skipped")], {}, "1 claim, all as known; 1 skipped"),
        ([claim(verdict="not proved")], {}, "1 of 1 claim to look at"),
        ([claim(verdict="skipped")], {"infrastructure": ["gone"]}, "The infrastructure failed"),
        (
            [claim(verdict="not proved", message="so: x", refuter={"expects": "x", "why": "y"})],
            {"refuting": "refuters.py"},
            "1 claim, each refuted as it should be",
        ),
        (
            [claim(verdict="not proved", message="z", refuter={"expects": "x", "why": "y"})],
            {"refuting": "refuters.py"},
            "1 of 1 claim to look at",
        ),
        ([claim(refuter={"expects": "x", "why": "y"})], {"refuting": "r"}, "1 of 1 claim to look"),
    ],
)
def test_the_headline_is_how_the_run_ended(
    claims: list[dict[str, Any]], run: dict[str, Any], headline: str
) -> None:
    """A skip is never counted as known, and in a run that refutes a failure is what should be."""
    assert f"<h1>{headline}" in render_run(results(*claims, **run), Path("none"))


def test_modes_stand_side_by_side() -> None:
    """A claim's sentence stands once; each mode has its part; one not tested says so."""
    found = page(
        results(
            claim("CIP-01", "iptables"),
            claim("CIP-01", "nftables", verdict="not proved"),
            claim("CIP-02", "nftables"),
            modes=["iptables", "nftables"],
        )
    )

    assert found.ids == [
        "cip-01",
        "cip-01-iptables",
        "cip-01-nftables",
        "cip-02",
        "cip-02-nftables",
    ]
    assert found.text.count("not tested") == 1
    anchors = [href[1:] for href in found.values("href") if href.startswith("#")]
    assert set(anchors) <= set(found.ids)


def test_nothing_on_the_page_comes_from_elsewhere() -> None:
    """No script, no image, no style sheet, no font, no frame; a policy forbids them besides."""
    content = results(claim(tests=[{"traffic": [FLOW]}]))
    html = render_run(content, Path("none"))
    found = Page(html)

    assert not found.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert all("://" not in href for href in found.values("href"))
    assert "url(" not in html
    assert "@import" not in html
    assert any("default-src 'none'" in value for value in found.values("content"))


def test_hostile_strings_stay_text(tmp_path: Path) -> None:
    """Whatever a cluster, a lab or somebody's claims.json says is shown, never obeyed."""
    flow = {key: EVIL if isinstance(value, str) else value for key, value in FLOW.items()}
    flows = [{**flow, "kind": kind, "times": n} for n, kind in enumerate(("http", "dns", "tcp"), 5)]
    evil = claim(
        EVIL,
        EVIL,
        lab=EVIL,
        says=EVIL,
        verdict=EVIL,
        differs=EVIL,
        seen=EVIL,
        message=f"{EVIL}\n  waited     {EVIL}\n{EVIL}",
        known={"verdict": EVIL, "detail": EVIL, "kubernetes": EVIL, "modes": [EVIL]},
        refuter={"expects": EVIL, "why": EVIL},
        tests=[{"traffic": [*flows, {"kind": "http"}, {"times": "x"}]}],
    )
    facts = dict.fromkeys(("id", "cluster", "engine", "images", "started", "refuting"), EVIL)
    html = render_run(
        results(evil, **facts, modes=[EVIL], infrastructure=[EVIL]) | {"without_test": [EVIL]},
        tmp_path,
    )
    found = Page(html)

    assert not found.tags & {"script", "img"}
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert "alert(1)" in found.text
    assert "{{ 7*7 }}" in found.text
    assert "\x1b" not in html


@pytest.mark.parametrize(
    "path",
    [
        "javascript:alert(1)",
        "https://example.test/",
        "evidence/..",
        "../../etc/passwd",
        "/etc/passwd",
        "evidence/a/b",
        "evidence/",
        "other/cip-04",
    ],
)
def test_links_lead_to_evidence_only(tmp_path: Path, path: str) -> None:
    """A path in the results that we would not have made is no link."""
    (tmp_path / "evidence" / "a" / "b").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "evidence", tmp_path / "evidence" / "a" / "b"):
        (folder / "evidence.json").write_text('{"files": []}')
    hrefs = page(results(claim(tests=[{"evidence": path}])), tmp_path).values("href")

    assert {href for href in hrefs if not href.startswith("#")} == {"claims.json"}


def test_a_huge_run_stays_small() -> None:
    """Hundreds of failures with long messages and much traffic: the page is cut to its size."""
    flows = [{**FLOW, "answered_by": f"web-{n}", "to": f"10.0.0.{n % 7}:80"} for n in range(40)]
    claims = [
        claim(
            f"CIP-{n:02}",
            verdict="not proved",
            message=f"CIP-{n:02} said\n" + "long " * 20_000,
            tests=[{"traffic": flows}],
        )
        for n in range(400)
    ]
    html = render_run(results(*claims), Path("none"))

    assert len(html.encode()) <= MOST_BYTES
    assert "CIP-399 said" in html


def evidence(folder: Path, *pieces: Piece) -> str:
    found = collect(
        pieces,
        folder,
        about={"claim": "CIP-04", "mode": "iptables", "verdict": "not proved", "nodeid": EVIL},
        redaction=Redaction(),
        seconds=5,
    )
    write_evidence_page(folder, found.to_dict())
    return (folder / "index.html").read_text("utf-8")


def test_evidence_is_on_one_page(tmp_path: Path) -> None:
    """All files with their texts, what a reader looks for first on top; hostile texts stay text."""

    def fails() -> str:
        raise OSError(EVIL)

    folder = tmp_path / "evidence" / "cip-04-iptables"
    html = evidence(
        folder,
        Piece("log of web-1", ("lab-1", "logs", "web-1.txt"), lambda: EVIL),
        Piece(EVIL, (EVIL,), lambda: "x"),
        Piece("for machines", ("requests.jsonl",), lambda: '{"not": "shown"}'),
        Piece("what went wrong", ("fault.txt",), lambda: "the fault"),
        Piece("rules", ("rules", "w.txt"), fails),
    )
    found = Page(html)

    assert not found.tags & {"script", "img"}
    assert found.ids[0] == "fault.txt"
    assert '{"not": "shown"}' not in found.text
    assert "What could not be had" in found.text
    assert "\x1b" not in html
    hrefs = found.values("href")
    assert "lab-1/logs/web-1.txt" in hrefs
    assert "requests.jsonl" in hrefs
    for href in hrefs:
        assert re.fullmatch(r"#?[a-z0-9._/-]+", href)
        assert href.startswith("#") or (folder / href).exists() or href == "../../report.html"
    in_run = page(results(claim(tests=[{"evidence": "evidence/cip-04-iptables"}])), tmp_path)
    assert "evidence/cip-04-iptables/index.html#fault.txt" in in_run.values("href")
    assert "evidence/cip-04-iptables/index.html#lab-1-logs-web-1.txt" in in_run.values("href")


def test_an_index_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    """Somebody's evidence.json can't make the page show other files."""
    secret = tmp_path / "secret.txt"
    secret.write_text("do not show")
    folder = tmp_path / "evidence" / "x"
    folder.mkdir(parents=True)
    paths = ["../../secret.txt", str(secret), "a/../../../secret.txt", "", 7, None]
    files = [{"path": path, "title": "x", "size": 1} for path in paths]
    write_evidence_page(folder, {"files": [*files, 1], "missing": ["x"], "seconds": "soon"})

    html = (folder / "index.html").read_text()
    assert "do not show" not in html
    assert "secret" not in html


def test_a_huge_file_is_not_on_the_page(tmp_path: Path) -> None:
    """Its beginning is; a log's end is; the file itself has more."""
    lines = "".join(f"line {n}\n" for n in range(30_000))
    html = evidence(
        tmp_path / "e",
        Piece("rules", ("rules", "w.txt"), lambda: lines),
        Piece("log", ("lab-1", "logs", "w.txt"), lambda: lines, keep="last"),
    )

    assert len(html) < 120_000
    assert html.count("line 1\n") == 1
    assert html.count("line 29999\n") == 1
    assert "not all of it" in html


def test_results_without_evidence_folder_have_no_links(tmp_path: Path) -> None:
    """Somebody sent claims.json alone."""
    content = results(claim(tests=[{"evidence": "evidence/cip-04-iptables"}]))
    content = json.loads(json.dumps(content))

    assert "Evidence" not in page(content, tmp_path).text


def test_a_message_is_taken_apart() -> None:
    """Head, labelled lines with their further lines, the broken layer, and whatever follows."""
    message = (
        "CIP-04 not proved (iptables): expected Service web\n"
        "  waited     5.0 s, 2 tries\n"
        "  last saw   nothing\n"
        "             at all\n"
        "first broken layer: selector: Service web: no Pod matches\n"
        "  try        kubectl get pods\n"
        "kubectl said: no"
    )

    assert told(message).head == "CIP-04 not proved (iptables): expected Service web"
    assert list(told(message).lines) == [
        ("waited", "5.0 s, 2 tries"),
        ("last saw", "nothing\nat all"),
        ("first broken layer", "selector: Service web: no Pod matches"),
        ("try", "kubectl get pods"),
    ]
    assert told(message).rest == "kubectl said: no"


@pytest.mark.parametrize("message", ["assert 1 == 2", "E  x\n  y z\n    def f():", "a\n\n  b"])
def test_a_message_of_another_form_is_kept_as_it_is(message: str) -> None:
    """Not every failure is ours."""
    assert told(message).head == message
    assert (list(told(message).lines), told(message).rest) == ([], "")


def test_figures_are_drawn() -> None:
    """What a test plotted is a drawing with its words, and nothing in it runs."""
    found = page(results(claim(tests=[{"charts": [CHART]}])))

    (words,) = found.values("aria-label")
    assert "0.2 at 100, 0.8 at 5,000" in words
    assert "5,000" in found.text
    assert {"svg", "circle", "figcaption"} <= found.tags
    assert "script" not in found.tags
    assert "img" not in found.tags


def test_figures_of_others_may_be_anything() -> None:
    """Results that hold no figures where figures should be still have a page."""
    found = page(results(claim(tests=[{"charts": [{"title": 1}, {"lines": [[]]}]}])))

    assert "svg" not in found.tags
