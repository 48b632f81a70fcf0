"""Cleaning: what can be made again goes, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout with the products of a run, and a cache beside it."""
    root = tmp_path / "checkout"
    copytree(CHECKOUT / "scripts", root / "scripts")
    for file in ("src/servicelab/cache.py", "labs/clusterip/README.md"):
        (root / file).parent.mkdir(parents=True)
        (root / file).write_bytes(
            (CHECKOUT / file).read_bytes() if (CHECKOUT / file).exists() else b"text"
        )
    for product in (".servicelab/claims.json", "labs/clusterip/__pycache__/a.pyc", "dist/a.whl"):
        (root / product).parent.mkdir(parents=True)
        (root / product).touch()
    (root / ".venv").mkdir()
    cached = tmp_path / "cache" / "images" / "node.tar"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(bytes(3_000_000))
    return root


def clean(checkout: Path, *arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run the copied script with a cache folder."""
    return subprocess.run(
        [sys.executable, str(checkout / "scripts" / "clean.py"), *arguments],
        env={**os.environ, "SERVICELAB_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


def files(folder: Path) -> set[str]:
    """What is left, apart from the scripts themselves."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "scripts" not in path.parts
    }


def test_clean_removes_products_and_keeps_sources_and_cache(checkout: Path, tmp_path: Path) -> None:
    """Evidence, wheels and bytecode go; sources, environment and images stay."""
    done = clean(checkout, cache=tmp_path / "cache")

    assert done.returncode == 0, done.stderr
    assert files(checkout) == {"src/servicelab/cache.py", "labs/clusterip/README.md"}
    assert (checkout / ".venv").exists()
    assert (tmp_path / "cache" / "images" / "node.tar").exists()


def test_distclean_says_how_much_it_removes(checkout: Path, tmp_path: Path) -> None:
    """The environment and the cache go too, after the cache's size was told."""
    done = clean(checkout, "--all", cache=tmp_path / "cache")

    assert done.returncode == 0, done.stderr
    assert f"removing the cache {tmp_path / 'cache'}, 3 MB" in done.stderr
    assert not (tmp_path / "cache").exists()
    assert not (checkout / ".venv").exists()


def test_distclean_refuses_a_cache_folder_that_holds_more(checkout: Path, tmp_path: Path) -> None:
    """A SERVICELAB_CACHE above the checkout is no cache to remove."""
    done = clean(checkout, "--all", cache=tmp_path)

    assert done.returncode == 1
    assert "set SERVICELAB_CACHE to a folder of its own" in done.stderr
    assert (checkout / "src" / "servicelab" / "cache.py").exists()


def test_distclean_twice_is_no_error(checkout: Path, tmp_path: Path) -> None:
    """Where nothing is left to remove, it says nothing."""
    clean(checkout, "--all", cache=tmp_path / "cache")
    done = clean(checkout, "--all", cache=tmp_path / "cache")

    assert (done.returncode, done.stderr) == (0, "")
