"""Which clusters a session has: one, or under xdist one for each worker if that is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import servicelab.cluster
import servicelab.engine
from servicelab import fixtures
from servicelab.host import process_identity
from servicelab.verdict.turns import turns_of_worker


def config_of(*, per_worker: bool, basetemp: object = None, **more: Any) -> pytest.Config:
    """A configuration with some options."""
    options = {"cluster_name": "lab", "cluster_per_worker": per_worker, "basetemp": basetemp}

    def getoption(name: str, default: object = None) -> object:
        return options.get(name, default)

    option = SimpleNamespace(**options)
    return cast("pytest.Config", SimpleNamespace(getoption=getoption, option=option, **more))


@pytest.mark.parametrize(
    ("worker", "per_worker", "name"),
    [
        (None, False, "lab"),
        (None, True, "lab"),
        ("gw0", False, "lab"),
        ("gw1", False, "lab"),
        ("gw0", True, "lab"),
        ("gw1", True, "lab-2"),
        ("gw11", True, "lab-12"),
    ],
)
def test_the_first_worker_has_the_sessions_cluster(
    monkeypatch: pytest.MonkeyPatch, worker: str | None, name: str, *, per_worker: bool
) -> None:
    """And the others one each, if that is asked for."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    if worker:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)

    assert fixtures.own_cluster_name(config_of(per_worker=per_worker)) == name


@pytest.mark.parametrize(
    ("per_worker", "released"), [(False, ["lab"]), (True, ["lab", "lab-2", "lab-13"])]
)
def test_the_controller_ends_with_all_of_them(
    monkeypatch: pytest.MonkeyPatch, released: list[str], *, per_worker: bool
) -> None:
    """Those of its own session, and nobody else's; the engine is looked at once."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    us, other = process_identity(), process_identity(os.getppid())
    leases = [
        SimpleNamespace(cluster=name, owner=owner)
        for name, owner in [
            *[("lab", us), ("lab-2", us), ("lab-13", us)],
            *[("lab-3", other), ("lab-4", None), ("lab-b", us), ("laboratory", us)],
        ]
    ]
    done: list[str] = []

    def cluster(config: pytest.Config, name: str) -> object:
        return SimpleNamespace(release=lambda: done.append(name), engine="engine")

    monkeypatch.setattr(servicelab.cluster, "all_leases", lambda: leases)
    monkeypatch.setattr(fixtures, "cluster_of_session", cluster)
    monkeypatch.setattr(servicelab.engine, "stop_if_unused", done.append)

    fixtures.end_session(config_of(per_worker=per_worker))

    assert done == [*released, "engine"]


def test_a_session_without_a_cluster_ends_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine is looked for."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setattr(servicelab.cluster, "all_leases", list)
    monkeypatch.setattr(servicelab.engine, "stop_if_unused", pytest.fail)

    fixtures.end_session(config_of(per_worker=True))


def test_who_shares_no_cluster_waits_for_nobody(tmp_path: Path) -> None:
    """There are turns only where workers share one."""
    given = {"basetemp": tmp_path / "gw0", "workerinput": {"testrunuid": "run"}}

    assert turns_of_worker(config_of(per_worker=False, **given))
    assert turns_of_worker(config_of(per_worker=True, **given)) is None


def test_an_existing_cluster_is_one(pytester: pytest.Pytester) -> None:
    """Its option and the other are told apart in one sentence."""
    result = pytester.runpytest_inprocess("--context=prod", "--cluster-per-worker")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--cluster-per-worker makes clusters, and --context names one*"])
