"""Keys and order of the build's steps."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from servicelab.bundle.bench import Bench
from servicelab.bundle.catalogue import catalogue
from servicelab.bundle.steps import Step, make_step, missing


def nothing(bench: Bench) -> None:
    """Builds nothing."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("SERVICELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def step(name: str, *needs: Step, fact: str = "") -> Step:
    """A step with one fact."""
    return make_step(name, nothing, facts={"fact": fact}, needs=needs, disk=1)


def test_a_key_follows_facts_files_needs_and_recipe(tmp_path: Path) -> None:
    """Whatever decides a result changes the name of its folder, and nothing else does."""
    file = tmp_path / "input"
    file.write_text("one")

    def key(**changes: object) -> str:
        arguments: dict[str, object] = {"facts": {"a": 1}, "files": [file], "disk": 1, **changes}
        return make_step("thing", nothing, **arguments).key  # type: ignore[arg-type]

    first = key()
    assert key() == first
    assert key(disk=2) == first
    changed = {
        key(facts={"a": 2}),
        key(recipe=2),
        key(needs=[step("base")]),
        key(needs=[step("base", fact="other")]),
    }
    file.write_text("two")
    changed.add(key())
    assert len(changed | {first}) == 6


def test_steps_come_after_what_they_need() -> None:
    """The order of building is such that each step finds its needs."""
    base = step("base")
    left, right = step("left", base), step("right", base)

    assert missing([step("top", left, right)])[:3] == [base, left, right]


def test_what_a_finished_step_needed_is_not_built() -> None:
    """A loaded image is used without the programs that it was made of."""
    top = step("top", step("base"))
    top.folder.mkdir(parents=True)

    assert missing([top]) == []


def test_keys_need_no_tools_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go, network or root, what the cache should hold is known in no time."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("GOPROXY", "off")

    began = time.monotonic()
    names = [step.name for step in missing(catalogue().final)]

    assert time.monotonic() - began < 0.5
    assert names[0] == "kube-apiserver"
    assert {"kube-apiserver", "kind", "kubectl", "probe", "coredns", "etcd"} <= set(names)


def test_a_node_comes_after_its_programs() -> None:
    """A node is built last, after each of its programs."""
    names = [step.name for step in missing([catalogue().node])]

    assert names.index("containerd") < names.index("node")
    assert len(names) == len(set(names))
