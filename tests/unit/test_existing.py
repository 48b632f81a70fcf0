"""A cluster that servicelab did not make: named by a context, and left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from servicelab.cluster.existing import ExistingCluster
from servicelab.errors import InfrastructureError, NotAsked, UsageError

pytest_plugins = ["pytester"]


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Of a cluster that nobody answers for: port 9 of the loopback is closed."""
    file = tmp_path / "kubeconfig"
    named = {"name": "far"}
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{**named, "cluster": {"server": "http://127.0.0.1:9"}}],
                "users": [{**named, "user": {"token": "t"}}],
                "contexts": [{**named, "context": {"cluster": "far", "user": "far"}}],
            }
        )
    )
    return file


def test_a_context_that_is_not_there_is_a_usage_error(kubeconfig: Path) -> None:
    """The sentence names the context and the file."""
    with pytest.raises(UsageError, match=r"kubeconfig can't be used for the context near"):
        ExistingCluster("near", kubeconfig).configured_mode()


def test_a_cluster_that_does_not_answer_is_an_infrastructure_error(kubeconfig: Path) -> None:
    """It says which context, and how to look."""
    with pytest.raises(InfrastructureError, match="context far does not answer") as error:
        ExistingCluster("far", kubeconfig).configured_mode()

    assert "kubectl --context far" in error.value.remedy


@pytest.mark.parametrize(
    "ask",
    [
        lambda cluster: cluster.docker_exec("node", "ip", "link"),
        lambda cluster: cluster.docker_exec("node", "cat", input="text"),
        lambda cluster: cluster.engine,
        lambda cluster: cluster.bundle,
        lambda cluster: cluster.extras,
        lambda cluster: cluster.outside(),
        lambda cluster: cluster.load_docker_image("web"),
        lambda cluster: cluster.switch_mode("nftables"),
        lambda cluster: cluster.check_may_disrupt(),
    ],
)
def test_what_changes_or_needs_its_nodes_is_not_asked(kubeconfig: Path, ask) -> None:
    """Each says whose cluster it is, and what it would have been."""
    with pytest.raises(NotAsked, match="not asked of far, which servicelab did not make: "):
        ask(ExistingCluster("far", kubeconfig))


def test_the_mode_in_force_needs_no_switch(kubeconfig: Path) -> None:
    """Asking for the mode that it runs in is no question."""
    ExistingCluster("far", kubeconfig).switch_mode("iptables")


def test_images_are_named_as_the_registry_has_them(kubeconfig: Path) -> None:
    """With a registry every image is pulled from there; without, objects stay as they are."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "web", "image": "quay.io/web/server:1"}]},
    }

    (moved,) = ExistingCluster("far", kubeconfig, registry="r.test/p").localised([pod])

    assert moved["spec"]["containers"][0]["image"] == "r.test/p/web/server:1"
    assert ExistingCluster("far", kubeconfig).localised([pod]) == [pod]


def test_a_question_that_is_not_asked_skips_its_test(pytester: pytest.Pytester) -> None:
    """In a fixture as in the test itself, with the reason; an ordinary error still fails."""
    pytester.makepyfile(
        """
        import pytest
        from servicelab.errors import InfrastructureError, NotAsked

        @pytest.fixture
        def beside():
            raise NotAsked("not asked: a host outside")

        def test_in_a_fixture(beside): ...

        def test_in_the_test():
            raise NotAsked("not asked: a node's container")

        def test_of_another_kind():
            raise InfrastructureError("gone")
        """
    )

    result = pytester.runpytest_subprocess("-rs")

    result.assert_outcomes(skipped=2, failed=1)
    result.stdout.fnmatch_lines(["*not asked: a host outside*", "*not asked: a node's container*"])
