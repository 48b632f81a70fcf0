"""The kind configuration: what is refused, and what is added."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from servicelab.cluster.config import PATCHES_IN_NODE, read_config, render_config, write_patches
from servicelab.errors import UsageError

GOOD = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
  - role: worker
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration that can be used."""
    path = tmp_path / "kind.yaml"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nodes: [", "is not YAML"),
        ("- a\n- b\n", "is not a mapping"),
        (GOOD.replace("Cluster", "Clutter"), "has kind 'Clutter'"),
        (GOOD.replace("v1alpha4", "v1alpha3"), "has apiVersion"),
        (GOOD.replace("worker", "walker"), "the role 'walker'"),
        (GOOD.replace("worker", "control-plane"), "has 2 control-plane nodes"),
        (GOOD.replace("control-plane", "worker"), "has 0 control-plane nodes"),
        (GOOD.split("nodes")[0] + "nodes: 3\n", "not a list of mappings"),
    ],
)
def test_a_broken_configuration_is_refused_with_its_name(file: Path, text: str, says: str) -> None:
    """What can't be used is refused with one sentence that names the file."""
    file.write_text(text)

    with pytest.raises(UsageError, match=says) as refused:
        read_config(file)

    assert str(file) in str(refused.value)
    assert refused.value.remedy


def test_a_missing_configuration_says_how_to_name_one(tmp_path: Path) -> None:
    """A file that isn't there is a usage error with the option's name."""
    with pytest.raises(UsageError, match="--kind-config"):
        read_config(tmp_path / "none.yaml")


def test_the_proxy_mode_goes_in_and_the_users_patches_come_last(file: Path) -> None:
    """kind gets the mode, our patches first and the user's last, so that the user's win."""
    config = read_config(file)
    config["kubeadmConfigPatches"] = ["kind: ClusterConfiguration\nclusterName: mine\n"]
    config["networking"] = {"podSubnet": "10.9.0.0/16"}

    rendered = render_config(config, "nftables", None)

    assert rendered["networking"] == {"podSubnet": "10.9.0.0/16", "kubeProxyMode": "nftables"}
    assert rendered["kubeadmConfigPatches"][-1] == config["kubeadmConfigPatches"][0]
    kinds = [yaml.safe_load(patch)["kind"] for patch in rendered["kubeadmConfigPatches"]]
    assert set(kinds[:-1]) == {
        "ClusterConfiguration", "KubeletConfiguration", "KubeProxyConfiguration",
    }  # fmt: skip


def test_quick_keys_are_asked_for_only_where_kubeadm_can_make_them(file: Path) -> None:
    """The choice of ECDSA keys names the version of kubeadm's configuration that has it."""
    rendered = render_config(read_config(file), "iptables", None)

    patches = [yaml.safe_load(patch) for patch in rendered["kubeadmConfigPatches"]]
    (keys,) = (patch for patch in patches if "encryptionAlgorithm" in patch)
    assert keys["apiVersion"] == "kubeadm.k8s.io/v1beta4"


def test_the_kubelet_is_not_restarted_for_a_rotation(file: Path, tmp_path: Path) -> None:
    """kubeadm leaves out the phase that restarts the control plane's kubelet, and preflight."""
    rendered = render_config(read_config(file), "iptables", write_patches(tmp_path / "patches"))

    patches = [yaml.safe_load(patch) for patch in rendered["kubeadmConfigPatches"]]
    (init,) = (patch for patch in patches if patch["kind"] == "InitConfiguration")
    assert init["skipPhases"] == ["preflight", "kubelet-finalize"]


def test_only_the_control_plane_gets_the_patches_folder(file: Path, tmp_path: Path) -> None:
    """kubeadm's patches are mounted where `kubeadm init` runs, and nowhere else."""
    patches = write_patches(tmp_path / "patches")

    rendered = render_config(read_config(file), "iptables", patches)

    mounts = [node.get("extraMounts", []) for node in rendered["nodes"]]
    assert [mount["containerPath"] for mount in mounts[0]] == [PATCHES_IN_NODE]
    assert mounts[1] == []
    assert (patches / "corednsdeployment+strategic.yaml").exists()


def test_the_users_configuration_is_not_changed(file: Path, tmp_path: Path) -> None:
    """Rendering leaves what was read as it was, so that it can be rendered again."""
    config = read_config(file)

    render_config(config, "iptables", tmp_path)

    assert config == yaml.safe_load(GOOD)
