"""What turns a minimal Debian into a kind node: kind's own files, edited, and the programs."""

from __future__ import annotations

import shutil
from pathlib import Path

from servicelab.bundle.bench import Bench
from servicelab.bundle.ociruntime import CRUN, FOLDER
from servicelab.errors import InfrastructureError
from servicelab.pins import pins

KUBERNETES_PROGRAMS = ("kubelet", "kubeadm", "kubectl")
CONTAINERD_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr")
CNI_PLUGINS = ("ptp", "host-local", "portmap")
PODNET_MANIFEST = Path(__file__).parents[1] / "cluster" / "podnet" / "manifest.yaml"

# kind applies this file to every cluster and wants it not empty; no lab uses a volume.
NO_STORAGE = """apiVersion: v1
kind: ConfigMap
metadata:
  name: servicelab-no-storage
  namespace: kube-system
"""

# (file, what it says, what it shall say): a text that kind no longer has is an error, not a
# silent no-op.
EDITS = (
    # A negative oom_score_adj can't be written without CAP_SYS_RESOURCE.
    (
        "etc/containerd/config.toml",
        "restrict_oom_score_adj = false",
        "restrict_oom_score_adj = true",
    ),
    ("etc/systemd/system/containerd.service", "OOMScoreAdjust=-999\n", ""),
    (
        "etc/containerd/config.toml",
        "SystemdCgroup = true",
        f'SystemdCgroup = true\n    BinaryName = "{CRUN}"',
    ),
    # containerd can bring a Pod's lo up itself, without starting a plugin for it.
    (
        "etc/containerd/config.toml",
        "restrict_oom_score_adj = true\n",
        "restrict_oom_score_adj = true\n"
        '[plugins."io.containerd.grpc.v1.cri".cni]\n'
        "  use_internal_loopback = true\n",
    ),
    # Nor can limits be raised above those of the machine.
    ("etc/systemd/system/containerd.service", "LimitNOFILE=infinity", "LimitNOFILE=20000"),
    ("etc/systemd/system/containerd.service", "LimitNPROC=infinity\n", ""),
    ("etc/systemd/system/containerd.service", "LimitCORE=infinity\n", ""),
    # On cgroup v1 systemd tidies away a slice's folder in a hierarchy that no unit needs, at times
    # between runc's making it and using it. The kubelet tries that Pod again 10 s later. Without
    # systemd in between (cgroupfs) nobody tidies.
    (
        "usr/local/bin/entrypoint",
        "log_info 'detected cgroup v1'\n",
        "log_info 'detected cgroup v1'\n"
        "  sed -i 's/SystemdCgroup = true/SystemdCgroup = false/' /etc/containerd/config.toml\n",
    ),
    # Where no name server answers, each of the entrypoint's questions lasts this long.
    (
        "usr/local/bin/entrypoint",
        "timeout 5 getent ahostsv4 'host.docker.internal'",
        "timeout 1 getent ahostsv4 'host.docker.internal'",
    ),
)

# As kind's own Dockerfile does it, for the units that Debian brings.
SETUP = r"""
set -e
cd /
rm -f /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
  /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
  /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/basic.target.wants/* \
  /lib/systemd/system/sockets.target.wants/*udev* \
  /lib/systemd/system/sockets.target.wants/*initctl*
systemctl enable kubelet.service containerd.service undo-mount-hacks.service
systemctl mask systemd-binfmt.service systemd-udevd.service systemd-udev-trigger.service \
  systemd-networkd.service systemd-resolved.service systemd-logind.service \
  systemd-modules-load.service dev-hugepages.mount sys-kernel-debug.mount \
  sys-kernel-tracing.mount getty.target console-getty.service
echo ReadKMsg=no >> /etc/systemd/journald.conf
# The runtime specification of every container, without limits of this machine. And without kind's
# hook, which hides from each container what hardware it runs on: that is bash, jq, cp and three
# mounts for each.
ctr oci spec | jq 'del(.process.rlimits)' > /etc/containerd/cri-base.json
test -e /sbin/init || ln -s /usr/lib/systemd/systemd /sbin/init
ln -sf /proc/self/mounts /etc/mtab
"""


def furnish(bench: Bench, root: Path) -> None:
    """Add kind's files, the programs and the Pod network's manifest to a root file system.

    Raises:
        InfrastructureError: kind's files are not as this version knows them.
    """
    shutil.copytree(bench.result("kind-files") / "files", root, dirs_exist_ok=True, symlinks=True)
    for program in KUBERNETES_PROGRAMS:
        shutil.copy2(bench.result(program) / program, root / "usr/bin" / program)
    for program in CONTAINERD_PROGRAMS:
        shutil.copy2(bench.result(program) / program, root / "usr/local/bin" / program)
    shutil.copytree(bench.result("crun"), root / FOLDER[1:])
    plugins = root / "opt/cni/bin"
    plugins.mkdir(parents=True, exist_ok=True)
    for plugin in CNI_PLUGINS:
        # A copy in kind's place, and none in Debian's.
        shutil.copy2(root / "usr/lib/cni" / plugin, plugins / plugin)
    shutil.rmtree(root / "usr/lib/cni")
    _edit(root)
    (root / "kind/version").write_text(pins().kubernetes)
    manifests = root / "kind/manifests"
    manifests.mkdir(exist_ok=True)
    shutil.copyfile(PODNET_MANIFEST, manifests / "default-cni.yaml")
    (manifests / "default-storage.yaml").write_text(NO_STORAGE)
    (root / "etc/kubernetes/manifests").mkdir(parents=True, exist_ok=True)
    # systemctl and ctr only write files here; they need no daemon.
    bench.run("chroot", root, "/bin/bash", "-c", SETUP)
    # Docker copies /var for each node anew, file by file: dpkg's 800 took half a second.
    packages = root / "opt/servicelab/dpkg"
    packages.parent.mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dpkg").rename(packages)
    (root / "var/lib/dpkg").symlink_to("/opt/servicelab/dpkg")


def _edit(root: Path) -> None:
    configuration = root / "etc/containerd/config.toml"
    text = configuration.read_text()
    lines = [
        line if "/pause:" not in line else f'{line.split("/pause:")[0]}/pause:{pins().pause}"'
        for line in text.splitlines()
    ]
    configuration.write_text("\n".join(lines) + "\n")
    for name, before, after in EDITS:
        path = root / name
        text = path.read_text()
        if before not in text:
            raise InfrastructureError(
                f"kind {pins().kind} has changed {name}: it no longer says {before.strip()!r}",
                remedy="pin the kind version that this servicelab was released with",
            )
        path.write_text(text.replace(before, after))
