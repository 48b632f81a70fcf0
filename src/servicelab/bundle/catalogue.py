"""Every step there is, and which of them a cluster uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from servicelab.bundle.archive import Image, write_image
from servicelab.bundle.bench import Bench
from servicelab.bundle.gomodules import command_steps, kind_files_step
from servicelab.bundle.nodebase import node_base_step
from servicelab.bundle.nodefiles import (
    CNI_PLUGINS,
    CONTAINERD_PROGRAMS,
    EDITS,
    KUBERNETES_PROGRAMS,
    NO_STORAGE,
    PODNET_MANIFEST,
    SETUP,
    furnish,
)
from servicelab.bundle.nodestore import CONFIGURATION, OUTSIDE_VAR, preload
from servicelab.bundle.ociruntime import crun_step
from servicelab.bundle.rootfs import kube_proxy_root_step, probe_root_step
from servicelab.bundle.steps import Step, make_step
from servicelab.pins import pins

PACKAGE = Path(__file__).parents[1]
SCRIPTS_FOLDER = "/usr/lib/servicelab"
PROBE_COMMAND = ("python3", f"{SCRIPTS_FOLDER}/servicelab_probe.py", "idle")
REGISTRY = "registry.k8s.io"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The steps whose results are used.

    Attributes:
        kind: the kind binary.
        kubectl: the kubectl binary.
        probe: the probe image's docker-archive.
        node: the node image's root file system, as a tar.
    """

    kind: Step
    kubectl: Step
    probe: Step
    node: Step

    @property
    def final(self) -> tuple[Step, ...]:
        """All of them, in the order of building: first what compiles what the others share."""
        return (self.node, self.kubectl, self.probe, self.kind)


def catalogue() -> Catalogue:
    """The steps as the pins and the sources have them now."""
    commands = command_steps()
    probe = probe_image_step()
    return Catalogue(commands["kind"], commands["kubectl"], probe, node_step(commands, probe))


def probe_scripts() -> list[tuple[Path, str]]:
    """The scripts of the probe image, each with its path in the image."""
    scripts = sorted((PACKAGE / "vantage" / "probe").glob("*.py"))
    podnet = PACKAGE / "cluster" / "podnet" / "agent.py"
    return [
        *((path, f"{SCRIPTS_FOLDER[1:]}/{path.name}") for path in scripts),
        (podnet, f"{SCRIPTS_FOLDER[1:]}/podnet.py"),
    ]


def probe_image_step() -> Step:
    """The probe image: its root file system and the scripts."""
    name = pins().probe_image

    def build(bench: Bench) -> None:
        root = bench.result("probe-root") / "root"
        tagged = f"{name}-{bench.step.key}"
        image = Image(
            # The second name is this very build's: what has it in an engine is not another one.
            names=(name, tagged),
            content=((root, ""), *probe_scripts()),
            command=PROBE_COMMAND,
        )
        write_image(image, bench.folder / "probe.tar")

    return make_step(
        "probe",
        build,
        facts={"name": name, "command": PROBE_COMMAND},
        files=[path for path, _ in probe_scripts()],
        needs=[probe_root_step()],
        disk=60,
    )


def node_images(bench: Bench) -> list[Image]:
    """What is preloaded besides the probe: kubeadm's images, and the web backend of the labs."""
    p = pins()

    def binary(name: str) -> Path:
        return bench.result(name) / name

    control_plane = [
        Image(
            (f"{REGISTRY}/{name}:{p.kubernetes}",),
            ((binary(name), f"usr/local/bin/{name}"),),
            entrypoint=(f"/usr/local/bin/{name}",),
        )
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ]
    proxy = Image(
        (f"{REGISTRY}/kube-proxy:{p.kubernetes}",),
        (
            (bench.result("kube-proxy-root") / "root", ""),
            (binary("kube-proxy"), "usr/local/bin/kube-proxy"),
        ),
        entrypoint=("/usr/local/bin/kube-proxy",),
    )
    return [
        *control_plane,
        proxy,
        Image((f"{REGISTRY}/etcd:{p.etcd_image}",), ((binary("etcd"), "usr/local/bin/etcd"),)),
        Image(
            (f"{REGISTRY}/coredns/coredns:{p.coredns}",),
            ((binary("coredns"), "coredns"),),
            entrypoint=("/coredns",),
        ),
        Image(
            (f"{REGISTRY}/pause:{p.pause}",), ((binary("pause"), "pause"),), entrypoint=("/pause",)
        ),
        Image(
            (p.agnhost_image,),
            ((binary("agnhost"), "agnhost"),),
            entrypoint=("/agnhost",),
            command=("pause",),
        ),
    ]


def node_step(commands: dict[str, Step], probe: Step) -> Step:
    """The node image's root file system as a tar, for `docker import`."""
    names = (
        *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"),
        *(*KUBERNETES_PROGRAMS, "agnhost", *CONTAINERD_PROGRAMS, "etcd", "coredns", "pause"),
    )

    def build(bench: Bench) -> None:
        root = bench.scratch / "root"
        root.mkdir()
        bench.run(
            "tar", "--extract", "--file", bench.result("node-base") / "base.tar",
            "--numeric-owner", "--same-permissions", "--xattrs", "--directory", root,
        )  # fmt: skip
        furnish(bench, root)
        preload(bench, root, node_images(bench), [bench.result("probe") / "probe.tar"])
        bench.run(
            "tar", "--create", "--file", bench.folder / "node.tar", "--numeric-owner",
            "--sort=name", "--xattrs", "--directory", root, ".",
        )  # fmt: skip

    facts = {
        "kubernetes": pins().kubernetes,
        "images": [pins().agnhost_image, pins().etcd_image, pins().coredns, pins().pause],
        "edits": EDITS,
        "setup": SETUP,
        "storage": NO_STORAGE,
        "store": [CONFIGURATION, OUTSIDE_VAR],
        "plugins": CNI_PLUGINS,
    }
    needs = [
        *(commands[name] for name in names),
        kind_files_step(),
        kube_proxy_root_step(),
        node_base_step(),
        crun_step(),
        probe,
    ]
    return make_step(
        "node", build, facts=facts, files=[PODNET_MANIFEST], needs=needs, disk=2600, recipe=4
    )
