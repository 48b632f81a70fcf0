"""What is built from Go modules: one entry a module, one step a command."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from servicelab.bundle.bench import Bench
from servicelab.bundle.go import ensure_go, go_environment
from servicelab.bundle.steps import Step, make_step
from servicelab.pins import pins

MODULES_FOLDER = Path(__file__).parent / "gomods"
FLAGS = ("-trimpath", "-buildvcs=false")
STRIPPED = "-s -w"


@dataclass(frozen=True, slots=True)
class GoModule:
    """A Go module of ours that pins what one project's commands are built from.

    Attributes:
        name: its folder in gomods.
        commands: import path by the name of the binary.
        pinned: the module and version that its go.mod must require.
        linker: further linker flags.
        disk: MiB that downloading and compiling it take, all commands together.
    """

    name: str
    commands: Mapping[str, str]
    pinned: tuple[str, str] | None
    linker: str = ""
    disk: int = 300

    @property
    def folder(self) -> Path:
        """Where its go.mod is."""
        return MODULES_FOLDER / self.name

    @property
    def files(self) -> list[Path]:
        """What decides a build besides the flags."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())


def modules() -> list[GoModule]:
    """Every module, in the order of building: what takes longest comes first."""
    p = pins()
    kubernetes = "k8s.io/kubernetes"
    return [
        GoModule(
            "kubernetes",
            {
                **{
                    name: f"{kubernetes}/cmd/{name}"
                    for name in (
                        *("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
                        *("kube-proxy", "kubelet", "kubeadm", "kubectl"),
                    )
                },
                "agnhost": f"{kubernetes}/test/images/agnhost",
            },
            (kubernetes, p.kubernetes),
            version_flags(p.kubernetes),
            disk=5500,
        ),
        GoModule(
            "containerd",
            {
                name: f"github.com/containerd/containerd/v2/cmd/{name}"
                for name in ("containerd", "containerd-shim-runc-v2", "ctr")
            },
            ("github.com/containerd/containerd/v2", p.containerd),
            f"-X github.com/containerd/containerd/v2/version.Version={p.containerd}",
            disk=700,
        ),
        GoModule(
            "coredns",
            {"coredns": "github.com/coredns/coredns"},
            ("github.com/coredns/coredns", p.coredns),
            disk=1500,
        ),
        GoModule(
            "etcd",
            {"etcd": "go.etcd.io/etcd/server/v3"},
            ("go.etcd.io/etcd/server/v3", p.etcd),
            disk=400,
        ),
        GoModule(
            "metallb",
            {
                f"metallb-{name}": f"go.universe.tf/metallb/{name}"
                for name in ("controller", "speaker")
            },
            ("go.universe.tf/metallb", p.metallb),
            disk=900,
        ),
        GoModule(
            "registry",
            {"registry": "github.com/distribution/distribution/v3/cmd/registry"},
            ("github.com/distribution/distribution/v3", p.distribution),
            f"-X github.com/distribution/distribution/v3/version.version={p.distribution}",
            disk=600,
        ),
        GoModule(
            "gobgp",
            {name: f"github.com/osrg/gobgp/v4/cmd/{name}" for name in ("gobgpd", "gobgp")},
            ("github.com/osrg/gobgp/v4", p.gobgp),
            disk=300,
        ),
        GoModule(
            "crane",
            {"crane": "github.com/google/go-containerregistry/cmd/crane"},
            ("github.com/google/go-containerregistry", p.crane),
            f"-X github.com/google/go-containerregistry/cmd/crane/cmd.Version={p.crane}",
            disk=200,
        ),
        GoModule("kind", {"kind": "sigs.k8s.io/kind"}, ("sigs.k8s.io/kind", p.kind), disk=200),
        GoModule("pause", {"pause": "."}, None, disk=30),
    ]


def version_flags(version: str) -> str:
    """Linker flags that make Kubernetes' commands say their version.

    Args:
        version: such as "v1.37.0".
    """
    major, minor, _ = version.removeprefix("v").split(".", 2)
    said = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "",
        # Fixed, so that the same sources give the same bytes.
        "buildDate": "1970-01-01T00:00:00Z",
    }
    return " ".join(
        f"-X k8s.io/component-base/version.{key}={value}" for key, value in said.items()
    )


def command_steps() -> dict[str, Step]:
    """A step for each command of each module, by the command's name."""
    steps: dict[str, Step] = {}
    for module in modules():
        linker = f"{STRIPPED} {module.linker}".strip()
        for command, package in module.commands.items():
            steps[command] = make_step(
                command,
                _compile(module, command, package, linker),
                facts={
                    "package": package,
                    "flags": FLAGS,
                    "linker": linker,
                    "pinned": module.pinned,
                    "go": pins().go,
                },
                files=module.files,
                disk=module.disk // len(module.commands),
                root=False,
            )
    return steps


def kind_files_step() -> Step:
    """The files of kind's node base image, which its Go module carries."""

    def copy(bench: Bench, folder: Path) -> None:
        # The module cache is read-only; copies must not be.
        shutil.copytree(
            folder / "images/base/files", bench.folder / "files", copy_function=shutil.copyfile
        )
        for path in (bench.folder / "files").rglob("*"):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)

    return _from_module("kind-files", "kind", copy)


def metallb_manifest_step() -> Step:
    """MetalLB's native manifest, metallb-native.yaml, which its Go module carries."""

    def copy(bench: Bench, folder: Path) -> None:
        name = "metallb-native.yaml"
        shutil.copyfile(folder / "config/manifests" / name, bench.folder / name)

    return _from_module("metallb-manifest", "metallb", copy)


def _from_module(name: str, module_name: str, copy: Callable[[Bench, Path], None]) -> Step:
    """A step that takes files out of the folder of a pinned Go module."""
    module = next(module for module in modules() if module.name == module_name)
    assert module.pinned is not None
    path = module.pinned[0]

    def build(bench: Bench) -> None:
        source = bench.scratch / "module"
        shutil.copytree(module.folder, source)
        go = ensure_go(bench)
        env = go_environment(go, bench.scratch)
        bench.run(go, "mod", "download", path, cwd=source, env=env)
        copy(
            bench, Path(bench.output(go, "list", "-m", "-f", "{{.Dir}}", path, cwd=source, env=env))
        )

    return make_step(
        name, build, facts={"pinned": module.pinned}, files=module.files, disk=1, root=False
    )


def _compile(module: GoModule, command: str, package: str, linker: str) -> Callable[[Bench], None]:
    def compile_it(bench: Bench) -> None:
        # A copy, because the installed package may be read-only or part of a Go workspace.
        source = bench.scratch / "module"
        shutil.copytree(module.folder, source)
        temporary = bench.scratch / "tmp"
        temporary.mkdir()
        go = ensure_go(bench)
        bench.run(
            go, "build", *FLAGS, "-ldflags", linker, "-o", bench.folder / command, package,
            cwd=source,
            env=go_environment(go, temporary),
        )  # fmt: skip

    return compile_it
