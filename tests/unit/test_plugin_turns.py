"""Workers that share a cluster take turns: mode by mode, and alone where a test disrupts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from servicelab.errors import InfrastructureError
from servicelab.verdict import deadlines
from servicelab.verdict.turns import Turn, Turns

IPTABLES, NFTABLES, IPVS = Turn("iptables"), Turn("nftables"), Turn("ipvs")
ALONE = Turn("iptables", "test_alone")


@pytest.fixture
def _impatient() -> Iterator[None]:
    before = deadlines.use(deadlines.parse(["mode_left=0.01"]))
    yield
    deadlines.use(before)


def worker(folder: Path) -> Turns:
    return Turns(
        folder,
        {
            "test_without_a_mode": Turn(""),
            "test_a": IPTABLES,
            "test_b": IPTABLES,
            "test_c": NFTABLES,
            "test_d": IPVS,
        },
    )


def test_the_first_mode_waits_for_nobody(tmp_path: Path) -> None:
    """Tests without a mode don't keep the first mode waiting."""
    worker(tmp_path).wait_for(Turn(""))
    worker(tmp_path).wait_for(IPTABLES)


@pytest.mark.usefixtures("_impatient")
def test_a_mode_waits_for_all_tests_of_the_earlier_ones(tmp_path: Path) -> None:
    """Tests done by any worker count; tests without a mode do not."""
    here, there = worker(tmp_path), worker(tmp_path)
    here.pytest_runtest_logfinish("test_a")
    here.pytest_runtest_logfinish("test_without_a_mode")

    with pytest.raises(
        InfrastructureError, match=r"could not begin the nftables mode(.|\n)*1 left"
    ):
        here.wait_for(NFTABLES)
    there.pytest_runtest_logfinish("test_b")
    here.wait_for(NFTABLES)
    with pytest.raises(InfrastructureError, match="the nftables mode: 1 left"):
        here.wait_for(IPVS)


@pytest.mark.usefixtures("_impatient")
def test_a_disruptive_test_waits_for_everybody_and_the_next_mode_for_it(tmp_path: Path) -> None:
    """It is a turn of its own, after all tests before it, those without a mode included."""
    tests = {"test_no_mode": Turn(""), "test_a": IPTABLES, "test_alone": ALONE, "test_c": NFTABLES}
    here, there = Turns(tmp_path, tests), Turns(tmp_path, tests)

    there.pytest_runtest_logfinish("test_a")
    with pytest.raises(InfrastructureError, match="could not begin test_alone"):
        here.wait_for(ALONE)
    there.pytest_runtest_logfinish("test_no_mode")
    here.wait_for(ALONE)
    with pytest.raises(InfrastructureError, match="test_alone: 1 left"):
        there.wait_for(NFTABLES)
    here.pytest_runtest_logfinish("test_alone")
    there.wait_for(NFTABLES)


def test_a_disruptive_test_runs_while_no_other_does(fake_lab) -> None:
    """Each worker runs its share, but the disruptive tests one by one, last in their mode."""
    fake_lab.tests(
        """
        from pathlib import Path
        from servicelab.verdict import wait_out

        def log(word):
            with Path("log").open("a") as file:
                file.write(f"{word}\\n")

        @pytest.mark.disruptive
        @pytest.mark.parametrize("n", range(2))
        def test_alone(proxy_mode, n):
            log(f"disrupts-{proxy_mode}")
            wait_out(0.3, "to be caught by a test that does not wait")
            log(f"restored-{proxy_mode}")

        @pytest.mark.parametrize("n", range(8))
        def test_it(proxy_mode, n):
            log(proxy_mode)
        """
    )
    result = fake_lab.run("-n", "2", "--proxy-mode", "iptables,nftables")

    result.assert_outcomes(passed=20)
    assert Path("log").read_text().split() == [
        word
        for mode in ("iptables", "nftables")
        for word in [mode] * 8 + [f"disrupts-{mode}", f"restored-{mode}"] * 2
    ]


def test_a_worker_leaves_nothing_under_way(fake_lab) -> None:
    """What a worker still does to the cluster ends with its last test before a disruptive one."""
    fake_lab.tests(
        """
        from pathlib import Path

        def log(word):
            with Path("log").open("a") as file:
                file.write(f"{word}\\n")

        @pytest.fixture(scope="session", autouse=True)
        def _sweeps(pytestconfig, proxy_mode):
            turns = pytestconfig.pluginmanager.get_plugin("servicelab-turns")
            turns.before_leaving.append(lambda: log("swept"))

        @pytest.mark.parametrize("n", range(8))
        def test_it(proxy_mode, n):
            log("test")

        @pytest.mark.disruptive
        def test_alone(proxy_mode):
            log("disrupts")
        """
    )
    fake_lab.run("-n", "2", "--proxy-mode", "iptables").assert_outcomes(passed=9)

    words = Path("log").read_text().split()
    assert words[: words.index("disrupts")].count("swept") == 2
