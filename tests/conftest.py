"""What all tests of the harness share."""

from __future__ import annotations

from textwrap import dedent

import pytest

pytest_plugins = ["pytester"]

FAKE_CLUSTER = """
import pytest

from servicelab.verdict.run_facts import run_facts


@pytest.fixture(scope="session")
def proxy_mode(request):
    run_facts(request.config).learn(kubernetes_version="v1.37.0")
    print(f"entered {request.param}")
    if request.param == "ipvs":
        pytest.skip("this kernel has no ip_vs")
    return request.param
"""


class FakeLab:
    """A lab folder whose cluster is a mode's name and a Kubernetes version."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.folder = pytester.mkdir("labs") / "clusterip"
        self.folder.mkdir()
        self.write("conftest.py", FAKE_CLUSTER)

    def write(self, name: str, content: str) -> None:
        """Write a file of the lab."""
        (self.folder / name).write_text(dedent(content), encoding="utf-8")

    def claims(self, content: str) -> None:
        """Write its claims.toml."""
        self.write("claims.toml", content)

    def tests(self, content: str, *, name: str = "test_lab.py") -> None:
        """Write a test module; the usual imports are there."""
        head = (
            "import pytest\n"
            "from servicelab import claim\n"
            "from servicelab.errors import InfrastructureError, UsageError\n"
        )
        self.write(name, head + dedent(content))

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in this process, on the folder labs unless the arguments name another."""
        named = any(argument.startswith("labs") for argument in arguments)
        return self.pytester.runpytest_inprocess(*arguments, *([] if named else ["labs"]))


@pytest.fixture
def fake_lab(pytester: pytest.Pytester) -> FakeLab:
    """A lab without a cluster, to run pytest on inside pytest."""
    return FakeLab(pytester)
