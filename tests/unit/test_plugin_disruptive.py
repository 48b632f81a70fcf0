"""Disruptive tests: last in their mode, left out on request, the cluster proved restored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

# Imported out here, so that the fake cluster and the plugin in there get the same module.
import servicelab.cluster.restoration
import servicelab.lab.working  # noqa: F401

CLAIMS = """
    [CIP-01]
    says = "One"
    known = [{ verdict = "holds" }]
    [CIP-02]
    says = "Two"
    known = [{ verdict = "holds" }]
"""
TESTS = """
    @pytest.mark.disruptive
    @claim("CIP-01")
    def test_disrupts(cluster):
        cluster.log("disrupts")

    @claim("CIP-02")
    def test_looks(cluster):
        cluster.log("looks")
"""
#: A cluster that a file stands for: what is in it is its state.
CONFTEST = """
    import pytest
    from pathlib import Path
    from servicelab.cluster import restoration
    from servicelab.lab import working
    from servicelab.errors import InfrastructureError

    class Cluster:
        name = "fake"

        def __init__(self):
            self.run_id = len(list(Path(".").glob("made-*")))
            Path(f"made-{self.run_id}").touch()
            Path("state").write_text("whole")
            self.log("made")

        @property
        def replaced(self):
            return not Path("state").exists() or not Path(f"made-{self.run_id}").exists()

        def log(self, word):
            with Path("log").open("a") as file:
                file.write(f"{word}\\n")

        def check_may_disrupt(self):
            pass

        def delete(self):
            self.log("deleted")
            Path("state").unlink()

        def finish_sweeping(self):
            self.log("swept")

    @pytest.fixture(scope="session")
    def kind_cluster():
        cluster = Cluster()
        yield cluster
        cluster.log("closed")

    @pytest.fixture(scope="session")
    def proxy_mode(request, kind_cluster):
        return request.param

    @pytest.fixture(scope="session")
    def cluster(kind_cluster, proxy_mode):
        return kind_cluster

    @pytest.fixture(autouse=True, scope="session")
    def _quick():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                restoration, "portrait", lambda cluster: {"state": Path("state").read_text()}
            )
            patch.setattr(restoration, "prove_ready", lambda cluster: cluster.log("ready"))
            patch.setattr(working, "prove_working", lambda cluster: cluster.log("works"))
            yield
"""


@pytest.fixture
def lab(fake_lab):
    fake_lab.claims(CLAIMS)
    fake_lab.tests(TESTS)
    fake_lab.write("conftest.py", CONFTEST)
    return fake_lab


def logged() -> list[str]:
    return Path("log").read_text().split()


def verdicts() -> dict[str, str]:
    found = json.loads(Path("claims.json").read_text(encoding="utf-8"))["claims"]
    return {f"{each['id']} {each['mode']}": each["verdict"] for each in found}


def test_it_comes_last_in_its_mode(lab) -> None:
    """Wherever it stands in the file; and a cluster that is whole again is proved ready."""
    lab.run("--proxy-mode", "iptables,nftables").assert_outcomes(passed=4)

    proof = ["looks", "swept", "disrupts", "ready", "works", "swept"]
    assert logged() == ["made", *proof, *proof, "closed"]


INSTALLS = """
    from pathlib import Path

    @pytest.fixture(scope="session")
    def installed(cluster):
        Path("state").write_text("installed")
        yield

    @pytest.fixture
    def own(installed, cluster):
        yield
        cluster.log("own put back")

    @pytest.mark.disruptive
    @claim("CIP-01")
    def test_disrupts(own, cluster):
        cluster.log("disrupts")

    @claim("CIP-02")
    def test_looks(cluster):
        cluster.log("looks")
"""


def test_what_outlasts_it_is_no_disruption(lab) -> None:
    """What a fixture of the session sets up for it first stays; what its own do, does not."""
    lab.tests(INSTALLS)

    lab.run("--proxy-mode", "ipvs", "--no-vm").assert_outcomes(passed=2)

    own = ["disrupts", "own", "put", "back", "ready"]
    assert [word for word in logged() if word in own] == own


def test_it_can_be_left_out(lab) -> None:
    """`--no-disruptive` skips it with its reason; that is not green, and nothing is disrupted."""
    result = lab.run("--no-disruptive", "--claims-json", "claims.json")

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["  CIP-01: disruptive: left out by --no-disruptive"])
    assert verdicts() == {"CIP-01 iptables": "skipped", "CIP-02 iptables": "holds"}
    assert "disrupts" not in logged()


BREAKS = TESTS.replace('cluster.log("disrupts")', 'Path("state").write_text("broken")').replace(
    "@pytest.mark.disruptive", "from pathlib import Path\n\n    @pytest.mark.disruptive"
)


def test_a_cluster_that_does_not_come_back_is_replaced(lab) -> None:
    """It is deleted, the next test gets a new one, and the report says so; exit status 3."""
    lab.tests(BREAKS)
    result = lab.run(
        *["--proxy-mode", "iptables,nftables", "--deadline", "cluster_restored=0.1"],
        *["--claims-json", "claims.json"],
    )

    assert result.ret == 3
    assert logged().count("made") == 2
    assert [word for word in logged() if word != "swept"] == [
        *["made", "looks", "deleted", "closed"],
        *["made", "looks", "deleted", "closed"],
    ]
    result.stdout.fnmatch_lines(
        [
            "the cluster fake was deleted, as test_disrupts?iptables? left it changed: *",
            "*state: whole before, broken now *",
        ]
    )
    assert set(verdicts().values()) == {"holds"}


def test_another_worker_notices_that_the_cluster_was_replaced(lab) -> None:
    """Under xdist too: nobody goes on with the cluster that is gone."""
    lab.tests(
        BREAKS.replace("def test_looks(cluster)", "def test_looks(cluster, n)")
        .replace(
            '@claim("CIP-02")', '@pytest.mark.parametrize("n", range(6))\n    @claim("CIP-02")'
        )
        .replace('cluster.log("looks")', "assert not cluster.replaced")
    )
    result = lab.run(
        *["-n", "2", "--proxy-mode", "iptables,nftables", "--deadline", "cluster_restored=0.1"],
        *["--claims-json", "claims.json"],
    )

    assert result.ret == 3
    assert set(verdicts().values()) == {"holds"}


def test_a_test_without_a_cluster_may_be_disruptive_too(lab) -> None:
    """It runs last; there is no cluster that could be proved restored."""
    lab.tests("@pytest.mark.disruptive\ndef test_alone(): pass\ndef test_other(): pass")
    result = lab.run("-v")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*::test_other *", "*::test_alone *"])
