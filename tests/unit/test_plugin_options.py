"""The plugin's options are checked before anything starts, and pytest-kind's keep their meaning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

KIND_FIXTURE = """
    def test_whose(kind_cluster, pytestconfig):
        assert kind_cluster == "ours"
        assert pytestconfig.option.cluster_name == "servicelab"
"""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--proxy-mode", "userspace"], "*--proxy-mode: unknown mode 'userspace' (choose from*"),
        (["--proxy-mode", "ipvs,"], "*unknown mode ''*"),
        (["--images", "mine"], "*--images: invalid choice: 'mine' (choose from*bundle*)"),
        (["--deadline", "pod_redy=3"], "ERROR: there is no deadline named 'pod_redy'; use one of*"),
        (["--deadline-factor", "0"], "ERROR: the factor of the deadlines is 0, not above zero*"),
        (["--most-services", "199"], "*--most-services: '199' is not a number from 200 on*"),
        (["--deadline-factor", "x"], "*--deadline-factor: invalid float value: 'x'*"),
        (["--kind-config", "no.yaml"], "ERROR: there is no kind configuration */no.yaml; name*"),
        (["-o", "kind_config=no.yaml"], "ERROR: there is no kind configuration */no.yaml; name*"),
        (["--refute", "no_such_module"], "ERROR: there is no module 'no_such_module'*"),
        (["--refute", "no_such.py"], "ERROR: there is no file */no_such.py with refuters*"),
    ],
)
@pytest.mark.parametrize("xdist", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_wrong_option_is_a_usage_error(
    pytester: pytest.Pytester, arguments: list[str], sentence: str, xdist: tuple[str, ...]
) -> None:
    """Exit status 4 and one sentence; no test runs."""
    pytester.makepyfile("def test_it(): open('ran', 'w')")
    result = pytester.runpytest_inprocess(*arguments, *xdist)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([sentence])
    assert not Path("ran").exists()


def test_a_wrong_catalogue_is_a_usage_error(fake_lab) -> None:
    """A mistake in claims.toml is told before any test runs, under xdist too."""
    fake_lab.claims("[CIP-01]")
    fake_lab.tests("def test_it(): open('ran', 'w')")

    for arguments in (["labs"], ["labs/clusterip/test_lab.py::test_it"], ["labs", "-n", "1"]):
        result = fake_lab.run(*arguments)

        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: in */claims.toml [[]CIP-01] does not say what*"])
    assert not Path("ran").exists()


def test_a_deadline_is_changed_for_one_run(pytester: pytest.Pytester) -> None:
    """Tests see the deadlines of their session, and the next session has the usual ones."""
    from servicelab.verdict import deadlines

    before = deadlines.current()
    pytester.makepyfile(
        """
        from servicelab.verdict import deadlines

        def test_it():
            assert deadlines.current().pod_ready.seconds == 5
            assert deadlines.current().pod_gone.seconds == 120
        """
    )
    result = pytester.runpytest_inprocess("--deadline", "pod_ready=5", "--deadline-factor", "2")

    result.assert_outcomes(passed=1)
    assert deadlines.current() is before


def test_the_kind_configuration_is_an_absolute_path(pytester: pytest.Pytester) -> None:
    """The option is meant from the current folder, the ini value from the ini file's."""
    (pytester.path / "kind.yaml").write_text("networking: {kubeProxyMode: nftables}")
    pytester.makeini("[pytest]\nkind_config = kind.yaml")
    pytester.makepyfile(
        """
        from pathlib import Path
        from servicelab.pytest_plugin import chosen_modes

        def test_it(pytestconfig):
            assert pytestconfig.getoption("kind_config") == str(Path("kind.yaml").absolute())
            assert chosen_modes(pytestconfig) == ("nftables",)
        """
    )

    pytester.runpytest_inprocess().assert_outcomes(passed=1)
    pytester.runpytest_inprocess("--kind-config", "kind.yaml").assert_outcomes(passed=1)


@pytest.mark.parametrize("content", ["", "a: [", "networking: 1", "networking: {kubeProxyMode: x}"])
def test_a_broken_kind_configuration_is_told_by_who_uses_it(
    pytester: pytest.Pytester, content: str
) -> None:
    """Looking for the default mode never stops a session that may not need a cluster."""
    (pytester.path / "kind.yaml").write_text(content)
    pytester.makepyfile(
        """
        from servicelab.pytest_plugin import chosen_modes

        def test_it(pytestconfig):
            assert chosen_modes(pytestconfig) == ("iptables",)
        """
    )

    pytester.runpytest_inprocess("--kind-config", "kind.yaml").assert_outcomes(passed=1)


@pytest.fixture
def our_fixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixtures that need no cluster, in the place of servicelab's own."""

    @pytest.fixture(scope="session")
    def kind_cluster() -> str:
        return "ours"

    module = ModuleType("servicelab.fixtures")
    module.kind_cluster = kind_cluster  # type: ignore[attr-defined]
    module.end_session = lambda config: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "servicelab.fixtures", module)


@pytest.mark.parametrize(
    "order",
    [
        ["pytest_kind.plugin", "servicelab.pytest_plugin"],
        ["servicelab.pytest_plugin", "pytest_kind.plugin"],
    ],
    ids=["kind first", "kind last"],
)
@pytest.mark.usefixtures("our_fixtures")
def test_our_kind_cluster_wins(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, order: list[str]
) -> None:
    """Whichever plugin is loaded first, the fixture and the cluster's default name are ours."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(KIND_FIXTURE)
    arguments = [argument for plugin in order for argument in ("-p", plugin)]

    pytester.runpytest_inprocess(*arguments).assert_outcomes(passed=1)


@pytest.mark.usefixtures("our_fixtures")
def test_a_conftest_still_overrides(pytester: pytest.Pytester) -> None:
    """A project's own fixture of that name is stronger than both plugins'."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def kind_cluster():
            return "the project's"
        """
    )
    pytester.makepyfile('def test_whose(kind_cluster): assert kind_cluster == "the project\'s"')

    pytester.runpytest_inprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize("name", ["mine", "pytest-kind"])
def test_a_given_cluster_name_is_kept(pytester: pytest.Pytester, name: str) -> None:
    """Only the default changes: a name that was asked for stays, pytest-kind's default too."""
    pytester.makepyfile(
        f"def test_it(pytestconfig): assert pytestconfig.option.cluster_name == {name!r}"
    )

    pytester.runpytest_inprocess("--cluster-name", name).assert_outcomes(passed=1)
    pytester.makeini(f"[pytest]\naddopts = --cluster-name={name}")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_the_plugin_imports_little() -> None:
    """A pytest run that has nothing to do with servicelab does not pay for it."""
    code = (
        "import sys, pytest, servicelab.pytest_plugin\n"
        "heavy = {'kubernetes', 'scipy', 'rich', 'tenacity', 'yaml', 'pytest_kind', 'typer'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_an_ordinary_session_imports_little_and_prints_nothing(pytester: pytest.Pytester) -> None:
    """Without a claim there is no matrix, and nothing of a cluster is imported."""
    pytester.makepyfile(
        """
        import sys

        def test_it():
            heavy = {"kubernetes", "scipy", "rich", "tenacity", "typer", "servicelab.cluster"}
            assert not heavy & set(sys.modules)
        """
    )
    result = pytester.runpytest_subprocess()

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*claim*")
