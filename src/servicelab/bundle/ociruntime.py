"""crun, which starts the nodes' containers: in C, where runc, in Go, starts itself several times.

The node's own Debian has one that refuses the specifications which containerd writes ("unknown
version specified"), and a newer one needs a newer C library: so it comes with that library beside
it, and with a path to it instead of the node's.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from servicelab import debian
from servicelab.bundle.bench import Bench
from servicelab.bundle.steps import Step, make_step
from servicelab.errors import InfrastructureError
from servicelab.pins import pins

#: Where it stands in a node.
FOLDER = "/opt/servicelab/crun"
CRUN = f"{FOLDER}/crun"
PACKAGES = ("crun", "libc6", "libcap2", "libseccomp2", "libsystemd0", "libyajl2")
LOADER = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}.get(
    platform.machine(), "ld.so.1"
)
LIBRARIES = (
    *(LOADER, "libc.so.6", "libm.so.6"),
    *("libcap.so.2", "libseccomp.so.2", "libsystemd.so.0", "libyajl.so.2"),
)


def crun_step() -> Step:
    """A folder with crun and its libraries, which finds them at `FOLDER` of a node."""
    suite, tools = pins().debian["engine_suite"], pins().debian["node_suite"]

    def build(bench: Bench) -> None:
        root, tool = bench.scratch / "root", bench.scratch / "tool"
        debian.unpack(debian.fetch(suite, PACKAGES, bench.scratch / "debs"), root)
        debian.unpack(debian.fetch(tools, ["patchelf"], bench.scratch / "tool-debs"), tool)
        crun = bench.folder / "crun"
        shutil.copy2(root / "usr/bin/crun", crun)
        for name in LIBRARIES:
            shutil.copy2(_library(root, name), bench.folder / name)
        bench.run(
            tool / "usr/bin/patchelf", "--set-interpreter", f"{FOLDER}/{LOADER}",
            "--force-rpath", "--set-rpath", FOLDER, crun,
        )  # fmt: skip
        # It can't start here, where it does not stand; its libraries can be looked up.
        linked = bench.output(bench.folder / LOADER, "--library-path", bench.folder, "--list", crun)
        if "not found" in linked:
            raise InfrastructureError(
                f"Debian's crun needs more libraries than servicelab gives it: {linked}",
                remedy="update servicelab",
            )

    facts = {"suite": suite, "packages": PACKAGES, "libraries": LIBRARIES, "folder": FOLDER}
    return make_step("crun", build, facts=facts, disk=40, root=False)


def _library(root: Path, name: str) -> Path:
    found = [path for path in root.glob(f"usr/lib/*/{name}") if path.exists()]
    if not found:
        raise InfrastructureError(
            f"none of Debian's packages {', '.join(PACKAGES)} brings {name}",
            remedy="update servicelab",
        )
    return found[0]
