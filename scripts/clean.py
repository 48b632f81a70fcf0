"""Remove what running and building left: in the checkout, and with --all the cache as well.

Works with the system's Python alone, since the virtual environment may be missing or broken.
"""

from __future__ import annotations

import argparse
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
SERVICELAB = CHECKOUT / ".venv" / "bin" / "servicelab"
STOP_SECONDS = 180
PRODUCTS = (
    "__pycache__",
    ".mypy_cache",
    ".pytest-kind",
    ".pytest_cache",
    ".ruff_cache",
    ".servicelab",
    ".tox",
    "build",
    "dist",
)
SOURCES = ("benchmarks", "exercises", "labs", "scripts", "src", "tests")


class CleanError(Exception):
    """Something can't be removed safely; the text says why and what to do."""


def main() -> int:
    """Stop what runs, then remove files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also .venv and the cache")
    everything = parser.parse_args().all
    stop(["down", "--all"])
    if everything:
        stop(["engine", "stop"])
    for path in products():
        remove(path)
    if everything:
        cache = cache_folder()
        if cache.exists():
            check_removable(cache)
            say(f"removing the cache {cache}, {megabytes(cache)} MB")
            remove(cache)
        remove(CHECKOUT / ".venv")
    return 0


def stop(arguments: list[str]) -> None:
    """Run a servicelab command that stops things; nothing runs if it was never installed."""
    if not SERVICELAB.exists():
        return
    try:
        done = subprocess.run(
            [str(SERVICELAB), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STOP_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"servicelab {' '.join(arguments)} did not work, going on without: {error}")
        return
    if done.returncode != 0:
        said = done.stdout.strip().splitlines()[-1:] or ["it said nothing"]
        say(f"servicelab {' '.join(arguments)} did not work, going on without: {said[0]}")


def products() -> Iterator[Path]:
    """What may be there and can be made again."""
    for name in PRODUCTS:
        yield CHECKOUT / name
    for source in SOURCES:
        yield from (CHECKOUT / source).rglob("__pycache__")
        yield from (CHECKOUT / source).rglob("*.egg-info")


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def cache_folder() -> Path:
    """The cache, as the library itself names it (cache.py needs only the standard library)."""
    found = runpy.run_path(str(CHECKOUT / "src" / "servicelab" / "cache.py"))["cache_root"]()
    return Path(found).resolve()


def check_removable(cache: Path) -> None:
    """Refuse a cache folder that holds more than a cache, or is still in use.

    Raises:
        CleanError: it is above the home folder or this checkout, or has mounts in it.
    """
    for precious in (Path.home().resolve(), CHECKOUT):
        if precious.is_relative_to(cache):
            raise CleanError(
                f"the cache folder {cache} holds {precious}; "
                "set SERVICELAB_CACHE to a folder of its own"
            )
    mounts = [place for place in mounted() if place.is_relative_to(cache)]
    if mounts:
        raise CleanError(
            f"the cache is in use, {mounts[0]} is mounted; stop the engine first: "
            "servicelab engine stop"
        )


def mounted() -> list[Path]:
    """All mount points; empty where there is no /proc."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [Path(line.split()[1].replace("\\040", " ")) for line in lines]


def megabytes(folder: Path) -> int:
    """What a folder takes on the disk, in MB, hard links counted once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(place, name))  # noqa: PTH118 - a third of the time
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return round(total / 1e6)


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CleanError as error:
        sys.exit(f"servicelab: {error}")
