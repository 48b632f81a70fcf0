"""The kind configuration: the user's file, checked, with what makes the start-up quick added."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml

from servicelab.errors import UsageError

ProxyMode = Literal["iptables", "nftables", "ipvs"]
PROXY_MODES: tuple[ProxyMode, ...] = ("iptables", "nftables", "ipvs")

#: Where the kubeadm patches stand in a control-plane node.
PATCHES_IN_NODE = "/kind/servicelab-patches"

# One of each runs, so there is nobody to elect a leader among; and the default client-side limit
# (20 requests a second) delays the controllers' start by 4.5 s.
_KUBEADM: dict[str, Any] = {
    "kind": "ClusterConfiguration",
    "controllerManager": {
        "extraArgs": {"leader-elect": "false", "kube-api-qps": "500", "kube-api-burst": "1000"}
    },
    "scheduler": {"extraArgs": {"leader-elect": "false"}},
}
# kubeadm would restart the control plane's kubelet for the rotation of a certificate that is good
# for a year, just when its first Pods are to start; preflight is kind's own choice.
_INIT: dict[str, Any] = {
    "kind": "InitConfiguration",
    "patches": {"directory": PATCHES_IN_NODE},
    "skipPhases": ["preflight", "kubelet-finalize"],
}
# Fourteen RSA keys take a second. Only this version of kubeadm's configuration has the choice; kind
# uses it for Kubernetes 1.36 and newer, and passes over a patch for another version.
_KEYS: dict[str, Any] = {
    "apiVersion": "kubeadm.k8s.io/v1beta4",
    "kind": "ClusterConfiguration",
    "encryptionAlgorithm": "ECDSA-P256",
}
# Since 1.35 a kubelet refuses cgroup v1 unless told; many CI machines still have it.
_KUBELET: dict[str, Any] = {"kind": "KubeletConfiguration", "failCgroupV1": False}
# kind's default batches changes for a second; a learner should see them at once.
_SYNC = {"minSyncPeriod": "100ms"}
_PROXY: dict[str, Any] = {
    "kind": "KubeProxyConfiguration",
    "iptables": _SYNC,
    "nftables": _SYNC,
    "ipvs": _SYNC,
}

#: One replica, asked every second instead of every 10: a cluster has DNS as soon as it can.
COREDNS_PATCH: dict[str, Any] = {
    "spec": {
        "replicas": 1,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "coredns",
                        "readinessProbe": {"periodSeconds": 1},
                    }
                ]
            }
        },
    }
}

#: The API server ends when its grace period is over, as long as somebody watches something: after
#: 30 s by default, which is most of what a change of its flags takes.
API_SERVER_PATCH: dict[str, Any] = {"spec": {"terminationGracePeriodSeconds": 1}}


def read_config(path: Path) -> dict[str, Any]:
    """Read a kind configuration file and check what servicelab relies on.

    Raises:
        UsageError: the file is missing, is not YAML, or is not a kind cluster with a control plane.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UsageError(
            f"the kind configuration {path} does not exist", remedy="name one with --kind-config"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the kind configuration {path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "it can't be parsed"
        raise UsageError(
            f"the kind configuration {path}{line} is not YAML: {problem}", remedy="mend that line"
        ) from None
    _check(document, path)
    return dict(document)


def _check(document: Any, path: Path) -> None:
    if not isinstance(document, dict):
        raise UsageError(
            f"the kind configuration {path} is not a mapping",
            remedy="start it with `kind: Cluster`",
        )
    for key, wanted in (("kind", "Cluster"), ("apiVersion", "kind.x-k8s.io/v1alpha4")):
        if document.get(key) != wanted:
            raise UsageError(
                f"the kind configuration {path} has {key} {document.get(key)!r}",
                remedy=f"servicelab needs `{key}: {wanted}`",
            )
    nodes = document.get("nodes", [{"role": "control-plane"}])
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise UsageError(
            f"nodes in {path} is not a list of mappings", remedy="see kind-config.yaml"
        )
    roles = [node.get("role", "control-plane") for node in nodes]
    if unknown := sorted({str(role) for role in roles} - {"control-plane", "worker"}):
        raise UsageError(
            f"nodes in {path} name the role {unknown[0]!r}",
            remedy="use control-plane or worker",
        )
    if roles.count("control-plane") != 1:
        raise UsageError(
            f"{path} has {roles.count('control-plane')} control-plane nodes",
            remedy="servicelab's labs need exactly one",
        )


def render_config(config: dict[str, Any], mode: ProxyMode, patches: Path | None) -> dict[str, Any]:
    """The configuration that kind gets: the user's, plus the proxy mode and the quick start.

    Args:
        config: as `read_config` gave it.
        mode: kube-proxy's mode for the new cluster.
        patches: folder on the host with kubeadm patches for the control plane, or None.
    """
    rendered = dict(config)
    rendered["networking"] = {**config.get("networking", {}), "kubeProxyMode": mode}
    ours = [_KUBEADM, _KEYS, _KUBELET, _PROXY]
    nodes = [dict(node) for node in config.get("nodes", [{"role": "control-plane"}])]
    if patches is not None:
        ours.append(_INIT)
        mount = {"hostPath": str(patches), "containerPath": PATCHES_IN_NODE, "readOnly": True}
        for node in nodes:
            if node.get("role", "control-plane") == "control-plane":
                node["extraMounts"] = [*node.get("extraMounts", []), mount]
    rendered["nodes"] = nodes
    # The user's patches come last, so that they win.
    rendered["kubeadmConfigPatches"] = [
        *(yaml.safe_dump(patch) for patch in ours),
        *config.get("kubeadmConfigPatches", []),
    ]
    return rendered


def write_patches(folder: Path) -> Path:
    """Write the kubeadm patches into a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corednsdeployment+strategic.yaml").write_text(yaml.safe_dump(COREDNS_PATCH))
    (folder / "kube-apiserver+strategic.yaml").write_text(yaml.safe_dump(API_SERVER_PATCH))
    return folder
