"""The bundle: an unchanged rebuild, and the size of what `images save` writes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import Figure, write


def run(runs: int) -> None:
    """Time the whole command, as a user types it."""
    command = [str(Path(sys.executable).with_name("servicelab")), "images"]
    rebuild = Figure("unchanged `servicelab images build`", target=3.0)
    subprocess.run([*command, "build"], check=True)
    subprocess.run([*command[:1], "engine", "start"], check=True)
    for _ in range(runs):
        with rebuild.timed():
            subprocess.run([*command, "build"], check=True, capture_output=True)
    size = Figure("what `servicelab images save` writes", unit="MiB", target=1024)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bundle.tar")
        subprocess.run([*command, "save", str(file)], check=True)
        size.values.append(file.stat().st_size / 2**20)
    write("bundle", [rebuild, size])
